# SPDX-License-Identifier: Apache-2.0
"""A process that uses a log, for tests that end or stop it: `-m tests.store.writer PATH NAME tell|write|hold`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from random import Random

from alcor.base.clock import SystemClock
from alcor.base.telemetry import configure_log
from alcor.store.log.sqlite import SqliteLog
from alcor.store.reader import Txn
from alcor.store.store import Outside, Store
from tests.store.world import NET, PORT, SCHEMA, Net, Port

CALLERS = 8


def say(*words: object) -> None:
    print(*words, flush=True)


def pair(name: str) -> Callable[[Txn], None]:
    """A request of three records: all of them are there, or none."""

    def request(txn: Txn) -> None:
        txn.insert(NET, Net(id=name))
        txn.insert(PORT, Port(id=f"{name}-a", net=name))
        txn.insert(PORT, Port(id=f"{name}-b", net=name))

    return request


async def write(path: str, name: str, *, is_told: bool) -> None:
    """Writes for ever, and says what was acknowledged if it `is_told`."""
    store = await Store.open(SCHEMA, SqliteLog(path), Outside(SystemClock(), Random()))
    say("ready")
    counter = iter(range(1_000_000))

    async def caller() -> None:
        while True:
            made = f"{name}-{next(counter):06}"
            done = await store.submit(pair(made))
            if is_told:
                say(made, done.position.revision)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


async def hold(path: str) -> None:
    """Takes the pen and stops."""
    log = SqliteLog(path)
    await log.open()
    await log.take_pen(5)
    say("ready")
    os.kill(os.getpid(), signal.SIGSTOP)
    await log.close()
    say("done")


def main() -> None:
    configure_log("error", "text")
    path, name, verb = sys.argv[1:]
    asyncio.run(hold(path) if verb == "hold" else write(path, name, is_told=verb == "tell"))


if __name__ == "__main__":
    main()
