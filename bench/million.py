# SPDX-License-Identifier: Apache-2.0
"""What 1,000,000 ports bound over 1,000 hosts cost `alcor all`: `python bench/million.py`.

The log is written first (bench/filled.py: 1,000 networks of 1,000 ports, each over 100 hosts; `--wide`: over all).
Then the control plane is started on it, and once more for each round: seconds to the first 200 of
`GET /v2.0/ports?limit=1`, seconds until the goal state of all hosts is loaded, and memory. Nobody is connected.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop
from filled import Cloud, fill
from harness import Connection, Figure, Plane, Report, memory_mib, options, request, scratch

LOADED = b"goal state loaded"
START_S_MAX = 300.0
SETTLE_S = 5.0


@dataclass(frozen=True)
class Start:
    """What one start took."""

    answered_s: float
    loaded_s: float
    peak_mib: float
    steady_mib: float


async def started(folder: Path) -> Start:
    """One start on the log of a folder."""
    (folder / "control.log").unlink(missing_ok=True)
    begun = time.perf_counter()
    plane = Plane(folder, level="info")
    try:
        until = begun + START_S_MAX
        while not plane.is_listening:
            if time.perf_counter() > until:
                raise RuntimeError(f"no answer within {START_S_MAX:.0f} s:\n{plane.child.last_words()}")
            await asyncio.sleep(0.02)
        api = await Connection.open(plane.port)
        await api.ask(request("GET", "ports?limit=1"))
        api.close()
        answered_s = time.perf_counter() - begun
        while LOADED not in plane.child.log.read_bytes():
            if time.perf_counter() > until:
                raise RuntimeError(
                    f"goal is not loaded within {START_S_MAX:.0f} s:\n{plane.child.last_words()}"
                )
            await asyncio.sleep(0.05)
        loaded_s = time.perf_counter() - begun
        await asyncio.sleep(SETTLE_S)
        return Start(answered_s, loaded_s, memory_mib(plane.child.pid, "VmHWM"), memory_mib(plane.child.pid))
    finally:
        await plane.child.stop()


def wide(parser: argparse.ArgumentParser) -> None:
    """The option of this benchmark alone."""
    parser.add_argument("--wide", action="store_true", help="every network on every host")


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__, wide)
    report = Report(asked)
    part = 50 if asked.small else 1
    cloud = Cloud(1_000_000 // part, 1_000 // part, 1_000 // part, (1_000 if asked.wide else 100) // part)
    with scratch(asked) as folder:
        begun = time.perf_counter()
        fill(folder, cloud)
        said = f"the log was written in {time.perf_counter() - begun:.0f} s, {_length_gib(folder):.2f} GiB"
        starts = [uvloop.run(started(folder)) for _ in range(asked.rounds or (1 if asked.small else 3))]
    name = f"{cloud.ports:,} ports"
    say = report.add
    say(Figure(f"{name}: start to first answer", "s", [each.answered_s for each in starts], 20, None, said))
    say(Figure(f"{name}: start to goal state loaded", "s", [each.loaded_s for each in starts]))
    steady = [each.steady_mib / 1024 for each in starts]
    say(Figure(f"{name}: resident once loaded", "GiB", steady, 2.5))
    say(Figure(f"{name}: most ever resident", "GiB", [each.peak_mib / 1024 for each in starts]))
    report.close()


def _length_gib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 2**30


if __name__ == "__main__":
    main()
