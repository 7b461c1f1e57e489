# SPDX-License-Identifier: Apache-2.0
"""Opens stores as the processes of one machine do: each of its own, on one log."""

from pathlib import Path
from random import Random

from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.store.log.contract import Log
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Outside, Store
from tests.store.world import SCHEMA


class Opener:
    """Remembers what it opened."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.db"
        self.stores: list[Store] = []

    async def __call__(self, log: Log | None = None, **settings: float) -> Store:
        outside = Outside(SystemClock(), Random(), Settings(**settings))  # type: ignore[arg-type]
        self.stores.append(await Store.open(SCHEMA, log or SqliteLog(self.path), outside))
        return self.stores[-1]

    async def close(self) -> None:
        for store in self.stores:
            await store.close()
