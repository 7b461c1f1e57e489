# SPDX-License-Identifier: Apache-2.0
"""Stores on logs in temporary folders, closed at the end of their test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.store.log.contract import Log
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Outside, Store
from tests.store.world import SCHEMA

Opener = Callable[..., Awaitable[Store]]


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[Opener]:
    stores: list[Store] = []

    async def open_one(log: Log | None = None, **settings: object) -> Store:
        around = Outside(SystemClock(), Random(), Settings(**settings))  # type: ignore[arg-type]
        store = await Store.open(SCHEMA, log or SqliteLog(tmp_path / "log.db"), around)
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        await store.close()
