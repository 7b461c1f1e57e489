# SPDX-License-Identifier: Apache-2.0
"""A log whose commits go wrong on demand: between the store and a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from enum import Enum, auto

from alcor.store.declare import Position
from alcor.store.log.contract import HeadMoved, Log, LogFault, OutcomeUnknown, Reset, Turn
from alcor.store.tables import Slice


class Fault(Enum):
    """What becomes of a commit."""

    NONE = auto()
    LANDS_UNANSWERED = auto()
    DOES_NOT_LAND = auto()
    REFUSED = auto()
    MOVED = auto()


class FaultyLog:
    """Passes everything on, but what `faults` says of the next commits; and nothing at all while it is `cut`."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.faults: list[Fault] = []
        self.turns: list[Turn] = []  # that were to be appended
        self.is_cut = False
        self.held = asyncio.Event()  # appends wait for it
        self.held.set()

    async def open(self) -> None:
        await self.log.open()

    async def close(self) -> None:
        await self.log.close()

    async def load(self, take: Callable[[Slice], None]) -> Position:
        self._reach()
        return await self.log.load(take)

    async def head(self) -> Position:
        self._reach()
        return await self.log.head()

    async def follow(self, after: Position, limit: int) -> Sequence[Turn] | Reset:
        self._reach()
        return await self.log.follow(after, limit)

    async def take_pen(self, wait_s: float) -> Position:
        self._reach()
        return await self.log.take_pen(wait_s)

    async def append(self, expected: Position, turn: Turn) -> None:
        self._reach()
        await self.held.wait()
        self.turns.append(turn)
        fault = self.faults.pop(0) if self.faults else Fault.NONE
        if fault in (Fault.NONE, Fault.LANDS_UNANSWERED):
            await self.log.append(expected, turn)
        else:
            await self.log.drop_pen()
        if fault in (Fault.LANDS_UNANSWERED, Fault.DOES_NOT_LAND):
            raise OutcomeUnknown("the line went dead")
        if fault is Fault.REFUSED:
            raise LogFault("The disk is full.")
        if fault is Fault.MOVED:
            raise HeadMoved("somebody was faster")

    async def drop_pen(self) -> None:
        self._reach()
        await self.log.drop_pen()

    async def find_turn(self, turn_id: str, after: Position) -> Position | None:
        self._reach()
        return await self.log.find_turn(turn_id, after)

    async def trim(self, before_s: float, limit: int) -> int:
        return await self.log.trim(before_s, limit)

    def _reach(self) -> None:
        if self.is_cut:
            raise LogFault("The log is out of reach.")
