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
SECONDS_MAX = 1_200
AT_ONCE = 2  # installations side by side


def folder() -> Path:
    """Where the environments are kept: `CONFORMANCE_FOLDER`, else `.peers` in the checkout."""
    return Path(os.environ.get(FOLDER_VARIABLE) or Path(__file__).parents[2] / ".peers")


class NotMadeError(RuntimeError):
    """An environment cannot be made; the message says what pip said."""


def prepared(*names: str) -> dict[str, Path]:
    """The `bin` folder of each environment, made where it is missing. Raises NotMadeError."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(names, pool.map(_prepared, names), strict=True))


def _prepared(name: str) -> Path:
    wanted, locked = (REQUIREMENTS / f"{name}.{kind}" for kind in ("txt", "lock"))
    place = folder() / "environments" / name
    ready = place / ".ready"
    stamp = hashlib.sha256(wanted.read_bytes() + locked.read_bytes() + sys.version.encode()).hexdigest()
    if not ready.exists() or ready.read_text() != stamp:
        shutil.rmtree(place, ignore_errors=True)
        print(f"Preparing the environment {name}", flush=True)
        _run(name, [sys.executable, "-m", "venv", place])
        install = [place / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run(name, [*install, "-r", wanted, "-c", locked])
        ready.write_text(stamp)
    return place / "bin"


def _run(name: str, command: list[str | Path]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise NotMadeError(f"The environment {name} was not made within {SECONDS_MAX} s.") from None
    if done.returncode:
        raise NotMadeError(
            f"The environment {name} cannot be made. It needs a package index, such as PyPI, the first time.\n"
            + (done.stderr or done.stdout)[-2_000:]
        )
