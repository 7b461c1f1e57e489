# SPDX-License-Identifier: Apache-2.0
"""What a log backend does: load, append, follow. A backend decides nothing and knows no feature.

Revisions count records from 1 without gaps. A turn is appended whole or not at all, and its records stand together.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from alcor.store.declare import Position
from alcor.store.tables import Slice

FORMAT = 1  # the newest that is read; written only where the log has it: see docs/decisions/log.md


class LogFault(Exception):
    """The log is out of reach or refuses to be written: nothing was changed. The text is one sentence."""


class PenHeld(LogFault):
    """Another process has held the pen for the whole time that was waited for it."""


class HeadMoved(Exception):
    """The head is not what the append expected: nothing was changed."""


class OutcomeUnknown(Exception):
    """The commit was sent and not answered: the turn is in the log, or not."""


class Record(NamedTuple):
    """One change as stored. Insert: `old` is None; delete: `new` is None."""

    table: str
    id: str
    old: bytes | None
    new: bytes | None
    request: str = ""  # id of the REST request that asked for it; "" if none did


class Turn(NamedTuple):
    """Records that were committed together. The last one has the position's revision."""

    position: Position
    time_s: float
    records: Sequence[Record]


class Reset(NamedTuple):
    """The follower's position is not part of the log as it is: it must load."""

    head: Position


class Log(Protocol):
    """One open log. Of `take_pen`, `append`, `drop_pen`, `find_turn` and `trim` one call is under way at a time."""

    async def open(self) -> None:
        """Opens or creates. Raises LogFault, also where the format is newer than `FORMAT`."""

    async def close(self) -> None:
        """Lets go of the pen and everything else. May be called twice."""

    async def load(self, take: Callable[[Slice], None]) -> Position:
        """Gives all current objects to `take`, table after table, as they were in one moment; answers its position."""

    async def head(self) -> Position:
        """The position of the last turn that was committed."""

    async def follow(self, after: Position, limit: int) -> Sequence[Turn] | Reset:
        """The next turns after a position, whole, until they have `limit` records; none at the head.

        Reset where the log has another turn at that revision, ends before it, or has forgotten it.
        """

    async def take_pen(self, wait_s: float) -> Position:
        """Waits for the only right to append; answers the head, which stays until then. Raises PenHeld."""

    async def append(self, expected: Position, turn: Turn) -> None:
        """Commits a turn if the head is `expected`, and drops the pen. Raises HeadMoved, LogFault, OutcomeUnknown.

        Who does not hold the pen takes it for this; PenHeld if another holds it.
        """

    async def drop_pen(self) -> None:
        """Lets another process write. Without effect if the pen is not held."""

    async def find_turn(self, turn_id: str, after: Position) -> Position | None:
        """Where a turn is in the log after `after`, or None."""

    async def trim(self, before_s: float, limit: int) -> int:
        """Forgets the oldest turns written before a time, whole, until that makes `limit` records; answers how many.

        Never the last turn.
        """
