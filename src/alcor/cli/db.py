# SPDX-License-Identifier: Apache-2.0
"""`alcor db`: looks into the log, also while others use it."""

import random
import sys
import time

from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.errors import Unavailable
from alcor.cli.serve import LOG_FILE
from alcor.features.control import SCHEMA
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Outside, Store


async def run(action: str, settings: Settings) -> int:
    """`check`: loads everything as a process would at its start, and says what is there. 1 if that fails."""
    path = settings.state / LOG_FILE
    if not path.exists():
        print(f"alcor: there is no log at {path}; --state says where to look.", file=sys.stderr)
        return 1
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
