# SPDX-License-Identifier: Apache-2.0
"""A log in memory: a `Disk` of turns as bytes, which any number of `MemoryLog`s share as processes share a file."""

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby

from alcor.store.declare import Position
from alcor.store.log.contract import HeadMoved, LogFault, OutcomeUnknown, PenHeld, Reset, Turn
from alcor.store.tables import START, Slice

LOAD_ROWS = 1_000

_HELD = "Another process holds the pen of the log in memory."


class Disk:
    """What is remembered when all processes have gone. `fault` makes every access fail until it is taken back."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.objects: dict[tuple[str, str], bytes] = {}
        self.horizon = START  # turns up to it are forgotten
        self.holder: object | None = None  # of the pen
        self.fault = ""
        self.loses_next_answer = False  # the next commit happens, and nobody hears of it
        self.waiting: deque[tuple[object, asyncio.Future[None]]] = deque()  # for the pen, in their order

    @property
    def head(self) -> Position:
        """Of the last turn."""
        return self.turns[-1].position if self.turns else self.horizon

    def copied(self) -> "Disk":
        """A backup: the same history, and nothing in common from here on."""
        backup = Disk()
        backup.turns, backup.objects = list(self.turns), dict(self.objects)
        backup.horizon = self.horizon
        return backup

    def restore(self, backup: "Disk") -> None:
        """Puts a backup in place under whoever is running."""
        self.turns, self.objects = list(backup.turns), copy.copy(backup.objects)
        self.horizon = backup.horizon


class MemoryLog:
    """Fulfils `store.log.contract.Log` on a disk in memory."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def open(self) -> None:
        """Raises LogFault while the disk has a fault."""
        self._check()

    async def close(self) -> None:
        """Lets go of the pen."""
        await self.drop_pen()

    async def load(self, take: Callable[[Slice], None]) -> Position:
        """Gives all current objects to `take`, in order and in slices, as they were in one moment."""
        self._check()
        position, objects = self._disk.head, sorted(self._disk.objects.items())
        for start in range(0, len(objects), LOAD_ROWS):
            for table, some in groupby(objects[start : start + LOAD_ROWS], key=lambda each: each[0][0]):
                keys, rows = zip(*some, strict=True)
                take(Slice(table, [key[1] for key in keys], rows))
            await asyncio.sleep(0)
        return position

    async def head(self) -> Position:
        """The position of the last turn."""
        self._check()
        return self._disk.head

    async def follow(self, after: Position, limit: int) -> Sequence[Turn] | Reset:
        """The next whole turns after a position, or Reset."""
        self._check()
        disk = self._disk
        known = {turn.position.revision: index for index, turn in enumerate(disk.turns)}
        if after == disk.horizon:
            start = 0
        elif after.revision in known and disk.turns[known[after.revision]].position == after:
            start = known[after.revision] + 1
        else:
            return Reset(disk.head)
        turns: list[Turn] = []
        for turn in disk.turns[start:]:
            turns.append(turn)
            if sum(len(one.records) for one in turns) >= limit:
                break
        return turns

    async def take_pen(self, wait_s: float) -> Position:
        """Waits for the pen. Raises PenHeld after `wait_s`."""
        disk = self._disk
        await asyncio.sleep(0)  # as with a real log, others have their chance before the pen is taken again
        if disk.holder not in (None, self):
            handed = asyncio.get_running_loop().create_future()
            disk.waiting.append((self, handed))
            try:
                await asyncio.wait([handed], timeout=wait_s)
            finally:
                if not handed.done():
                    disk.waiting.remove((self, handed))
            if not handed.done():
                raise PenHeld(_HELD)
        disk.holder = self
        self._check()
        return disk.head

    async def append(self, expected: Position, turn: Turn) -> None:
        """Commits a turn on top of `expected`, and drops the pen."""
        disk = self._disk
        try:
            self._check()
            if disk.holder not in (None, self):
                raise PenHeld(_HELD)
            if disk.head != expected:
                raise HeadMoved(f"The log is at {disk.head}, not at {expected}")
            disk.turns.append(turn)
            for record in turn.records:
                if record.new is None:
                    disk.objects.pop((record.table, record.id), None)
                else:
                    disk.objects[record.table, record.id] = record.new
            if disk.loses_next_answer:
                disk.loses_next_answer = False
                raise OutcomeUnknown("The answer of the log in memory was lost.")
        finally:
            await self.drop_pen()

    async def drop_pen(self) -> None:
        """Lets another process write."""
        disk = self._disk
        if disk.holder is not self:
            return
        disk.holder = None
        if disk.waiting:
            disk.holder, handed = disk.waiting.popleft()
            handed.set_result(None)

    async def find_turn(self, turn_id: str, after: Position) -> Position | None:
        """Where a turn is in the log after `after`, or None."""
        self._check()
        for turn in self._disk.turns:
            if turn.position.turn == turn_id and turn.position.revision > after.revision:
                return turn.position
        return None

    async def trim(self, before_s: float, limit: int) -> int:
        """Forgets old turns, never the last."""
        self._check()
        disk, forgotten = self._disk, 0
        while len(disk.turns) > 1 and disk.turns[0].time_s < before_s and forgotten < limit:
            forgotten += len(disk.turns[0].records)
            disk.horizon = disk.turns.pop(0).position
        return forgotten

    def _check(self) -> None:
        if self._disk.fault:
            raise LogFault(self._disk.fault)
