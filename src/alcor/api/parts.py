# SPDX-License-Identifier: Apache-2.0
"""What the handlers of the API stand on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from alcor.api.auth import Auth
from alcor.api.wire import Bodies
from alcor.base.telemetry import Meters
from alcor.resource.context import World
from alcor.resource.engine import Engine
from alcor.store.store import Store

_OTHERS_SHARE = 3  # slices of time that others may use for each slice of a list
_IDLE_S = 0.0001  # a turn of the loop shorter than this had nothing to do


class Scans:
    """Admits at most so many scans of whole tables at a time for one project; others wait their turn."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_project: dict[str, list[Any]] = {}  # semaphore, and how many use or await it

    @asynccontextmanager
    async def admitted(self, project_id: str) -> AsyncIterator[None]:
        """Holds one of the project's scans."""
        entry = self._by_project.setdefault(project_id, [asyncio.Semaphore(self._most), 0])
        entry[1] += 1
        try:
            async with entry[0]:
                yield
        finally:
            entry[1] -= 1
            if not entry[1]:
                del self._by_project[project_id]


class Breath:
    """Gives the loop to others once a slice of time is used up: to a long list everything else is more urgent."""

    def __init__(self, slice_s: float) -> None:
        self._slice_s = slice_s
        self._until = monotonic() + slice_s

    async def take(self) -> None:
        """If the slice is over, waits until nobody else wants the loop or others had their share of it."""
        now = monotonic()
        if now < self._until:
            return
        others_s = 0.0
        while others_s < _OTHERS_SHARE * self._slice_s:
            await asyncio.sleep(0)
            before, now = now, monotonic()
            if now - before < _IDLE_S:
                break
            others_s += now - before
        self._until = now + self._slice_s


@dataclass
class Parts:
    """The engine, the store, and what the process says of itself."""

    engine: Engine
    store: Store
    auth: Auth
    world: World
    meters: Meters = field(default_factory=Meters)
    scans: Scans = field(init=False)
    bodies: Bodies = field(init=False)
    openapi: bytes = b""

    def __post_init__(self) -> None:
        self.scans = Scans(self.world.settings.scans_max)
        self.bodies = Bodies(self.world.settings.bodies_bytes_max)
