# SPDX-License-Identifier: Apache-2.0
"""`alcor db`: looks into the log, also while others use it, and raises its format when the operator says so."""

import random
import sys
import time
from pathlib import Path

from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.errors import Unavailable
from alcor.cli.serve import LOG_FILE
from alcor.features.control import SCHEMA
from alcor.store.log.contract import FORMAT, LogFault
from alcor.store.log.sqlite import SqliteLog
from alcor.store.log.sqlite_file import format_of
from alcor.store.store import Outside, Store


async def run(action: str, settings: Settings, *, finish: bool = False) -> int:
    """One action on the log of `settings.state`. The exit status: 1 if it fails."""
    path = settings.state / LOG_FILE
    if not path.exists():
        print(f"alcor: there is no log at {path}; --state says where to look.", file=sys.stderr)
        return 1
    return _upgrade(path, finish=finish) if action == "upgrade" else await _check(path, settings)


def _upgrade(path: Path, *, finish: bool) -> int:
    """Says the log's format; `finish` raises it to this version's, unless a live process does not read that."""
    try:
        written = format_of(path, raise_it=finish)
    except LogFault as wrong:
        print(f"alcor: {wrong}", file=sys.stderr)
        return 1
    print(f"{path}: format {written}; this version reads and writes up to {FORMAT}.")
    if written < FORMAT:
        print(f"With all processes upgraded, `alcor db upgrade --finish` lets them write format {FORMAT}.")
    return 0


async def _check(path: Path, settings: Settings) -> int:
    """Loads everything as a process would at its start, and says what is there."""
    begun = time.monotonic()
    try:
        outside = Outside(SystemClock(), random.SystemRandom(), settings)
        store = await Store.open(SCHEMA, SqliteLog(path), outside)
    except Unavailable as wrong:
        print(f"alcor: {wrong}", file=sys.stderr)
        return 1
    try:
        position = store.tables.position
        print(f"{path}: revision {position.revision}, turn {position.turn or '-'}")
        for table in SCHEMA.tables:
            print(f"  {table.name:<20} {sum(1 for _ in store.tables.scan(table)):>9}")
        print(f"loaded in {time.monotonic() - begun:.1f} s")
    finally:
        await store.close()
    return 0
