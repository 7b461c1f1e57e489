# SPDX-License-Identifier: Apache-2.0
"""Which rows changed at which of the last positions, so that a host that was away a little is sent only those."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable

from alcor.goal.compiler import RowChange
from alcor.store.declare import Position


class Recent:
    """The last positions and the keys of the rows that changed there; bounded by rows and positions together."""

    def __init__(self, start: Position, length_max: int) -> None:
        self._length_max = length_max
        self._turns: dict[int, str] = {start.revision: start.turn}  # ascending
        self._rows: deque[tuple[int, str]] = deque()  # (revision, scope) of each row in _by_scope, ascending
        self._by_scope: dict[str, list[tuple[int, str]]] = {}  # (revision, key), ascending

    def append(self, position: Position, changes: Iterable[RowChange]) -> None:
        """Takes the next position and the rows that changed there; forgets the oldest beyond the bound."""
        self._turns[position.revision] = position.turn
        for change in changes:
            self._rows.append((position.revision, change.scope))
            self._by_scope.setdefault(change.scope, []).append((position.revision, change.key))
        while len(self._turns) > 1 and len(self._turns) + len(self._rows) > self._length_max:
            self._forget_oldest()

    def covers(self, position: Position) -> bool:
        """Whether everything that changed after `position` is known."""
        return self._turns.get(position.revision) == position.turn

    def covers_revision(self, revision: int) -> bool:
        """As `covers`, for a revision of this very log."""
        return revision >= self.horizon

    def changed(self, scope: str, after_revision: int) -> list[str]:
        """The keys of the rows of `scope` that changed after a revision, each once."""
        keys = self._by_scope.get(scope, [])
        start = bisect_right(keys, after_revision, key=_revision)
        return list(dict.fromkeys(key for _, key in keys[start:]))

    def is_ageing(self, revision: int) -> bool:
        """Whether a host that stands at `revision` should be told a newer position before this one is forgotten."""
        is_filling = 2 * (len(self._turns) + len(self._rows)) > self._length_max
        return is_filling and 2 * revision < self.horizon + self._newest

    @property
    def horizon(self) -> int:
        """The oldest revision that `changed` may be asked for."""
        return next(iter(self._turns))

    @property
    def _newest(self) -> int:
        return next(reversed(self._turns))

    def _forget_oldest(self) -> None:
        del self._turns[self.horizon]
        # Rows of the new horizon itself are not needed either: they are known to whoever stands there.
        while self._rows and self._rows[0][0] <= self.horizon:
            _, scope = self._rows.popleft()
            keys = self._by_scope[scope]
            if len(keys) == 1:
                del self._by_scope[scope]
            else:
                del keys[0]


def _revision(entry: tuple[int, str]) -> int:
    return entry[0]
