# SPDX-License-Identifier: Apache-2.0
"""The peers' virtual environments: made once from pinned requirements, and again only when those change."""

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("environments")
FOLDER_VARIABLE = "CONFORMANCE_FOLDER"  # names the folder that keeps environments and runs
SECONDS_MAX = 1_500
AT_ONCE = 2  # installations side by side


def folder() -> Path:
    """Where the environments are kept: `CONFORMANCE_FOLDER`, else `.peers` in the checkout."""
    return Path(os.environ.get(FOLDER_VARIABLE) or Path(__file__).parents[2] / ".peers")


def prepared(*names: str) -> dict[str, Path]:
    """The `bin` folder of each environment, made where it is missing. Raises CalledProcessError, TimeoutExpired."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(names, pool.map(_prepared, names), strict=True))


def _prepared(name: str) -> Path:
    wanted = REQUIREMENTS / f"{name}.txt"
    place = folder() / "environments" / name
    ready = place / ".ready"
    stamp = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    if not ready.exists() or ready.read_text() != stamp:
        shutil.rmtree(place, ignore_errors=True)
        print(f"Preparing the environment {name}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=120)
        install = [place / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, "-r", wanted], check=True, timeout=SECONDS_MAX)
        ready.write_text(stamp)
    return place / "bin"
