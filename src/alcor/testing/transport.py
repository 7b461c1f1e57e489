# SPDX-License-Identifier: Apache-2.0
"""Streams in memory: for tasks, with the bounds of a real one; and step by step, with faults that a test asks for."""

import asyncio
from collections import deque
from dataclasses import dataclass
from random import Random

from alcor.base.wire.stream import StreamClosed


class _Direction:
    """What is under way in one direction."""

    def __init__(self, bytes_max: int) -> None:
        self.messages: deque[bytes] = deque()
        self.length = 0
        self.bytes_max = bytes_max
        self.is_closed = False
        self._changed = asyncio.Event()

    def change(self) -> None:
        """Lets both ends look again."""
        self._changed.set()

    async def next_change(self) -> None:
        """Waits until there is reason to look again."""
        self._changed.clear()
        await self._changed.wait()


class MemoryStream:
    """One end of a stream within this process. Fulfils `base.wire.stream.Stream`; messages are bytes, as on a wire."""

    def __init__(self, out: _Direction, into: _Direction) -> None:
        self._out = out
        self._into = into

    async def write(self, message: bytes) -> None:
        """Hands a message over once less than the bound is under way. Raises StreamClosed."""
        out = self._out
        while out.length >= out.bytes_max and not out.is_closed:
            await out.next_change()
        if out.is_closed:
            raise StreamClosed("the stream was closed")
        out.messages.append(message)
        out.length += len(message)
        out.change()

    async def read(self) -> bytes:
        """The next message. Raises StreamClosed once there are no more."""
        into = self._into
        while not into.messages:
            if into.is_closed:
                raise StreamClosed("the stream was closed")
            await into.next_change()
        message = into.messages.popleft()
        into.length -= len(message)
        into.change()
        return message

    async def close(self) -> None:
        """Ends the stream; the other end reads what was written."""
        for direction in (self._out, self._into):
            direction.is_closed = True
            direction.change()

    async def cut(self) -> None:
        """Ends the stream as a broken network does: what was not read is lost."""
        for direction in (self._out, self._into):
            direction.messages.clear()
        await self.close()


def stream_pair(bytes_max: int = 1 << 16) -> tuple[MemoryStream, MemoryStream]:
    """Both ends of a stream that holds about `bytes_max` in each direction."""
    there, back = _Direction(bytes_max), _Direction(bytes_max)
    return MemoryStream(there, back), MemoryStream(back, there)


@dataclass(frozen=True)
class Faults:
    """How often a message is lost or repeated, as shares."""

    loss: float = 0.0
    repeat: float = 0.0


class Line:
    """One direction of a stream, moved message by message by a test. A real stream has no faults but its end."""

    def __init__(self, random: Random, faults: Faults) -> None:
        self._random = random
        self._faults = faults
        self._under_way: deque[bytes] = deque()

    def send(self, message: bytes) -> None:
        """Puts a message on the line, or loses it."""
        if self._random.random() >= self._faults.loss:
            self._under_way.append(message)

    def deliver(self) -> bytes | None:
        """The oldest message, which may stay to be delivered again; None if there is none."""
        if not self._under_way:
            return None
        if self._random.random() < self._faults.repeat:
            return self._under_way[0]
        return self._under_way.popleft()

    def cut(self) -> None:
        """Loses everything that is under way."""
        self._under_way.clear()

    def __len__(self) -> int:
        return len(self._under_way)
