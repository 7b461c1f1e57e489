# SPDX-License-Identifier: Apache-2.0
"""What changed at which of the last positions, so that a host that was away a little is sent only that."""

from bisect import bisect_right
from collections import deque

from alcor.goal.state import Step
from alcor.store.declare import Position


class Recent:
    """The last positions, the keys of the rows that changed there, and which hosts came to need which scopes.

    Bounded by all of these together.
    """

    def __init__(self, start: Position, length_max: int) -> None:
        self._length_max = length_max
        self._turns: dict[int, str] = {start.revision: start.turn}  # ascending
        self._noted: deque[tuple[int, str]] = deque()  # (revision, topic) of each note, ascending
        self._by_topic: dict[str, list[tuple[int, str]]] = {}  # (revision, note), ascending

    def append(self, position: Position, step: Step) -> None:
        """Takes the next position and what changed there; forgets the oldest beyond the bound."""
        self._turns[position.revision] = position.turn
        for change in step.rows:
            self._note(position.revision, change.scope, change.key)
        for host, scope in step.moves.entered:
            self._note(position.revision, _entered_by(host), scope)
        while len(self._turns) > 1 and len(self._turns) + len(self._noted) > self._length_max:
            self._forget_oldest()

    def covers(self, position: Position) -> bool:
        """Whether everything that changed after `position` is known."""
        return self._turns.get(position.revision) == position.turn

    def covers_revision(self, revision: int) -> bool:
        """As `covers`, for a revision of this very log."""
        return revision >= self.horizon

    def changed(self, scope: str, after_revision: int) -> list[str]:
        """The keys of the rows of `scope` that changed after a revision, each once."""
        return self._since(scope, after_revision)

    def entered(self, host: str, after_revision: int) -> list[str]:
        """The scopes that the host came to need after a revision: of these it may hold what is older than that."""
        return self._since(_entered_by(host), after_revision)

    def is_ageing(self, revision: int) -> bool:
        """Whether a host that stands at `revision` should be told a newer position before this one is forgotten."""
        is_filling = 2 * (len(self._turns) + len(self._noted)) > self._length_max
        return is_filling and 2 * revision < self.horizon + self._newest

    @property
    def horizon(self) -> int:
        """The oldest revision that `changed` may be asked for."""
        return next(iter(self._turns))

    @property
    def _newest(self) -> int:
        return next(reversed(self._turns))

    def _note(self, revision: int, topic: str, note: str) -> None:
        self._noted.append((revision, topic))
        self._by_topic.setdefault(topic, []).append((revision, note))

    def _since(self, topic: str, revision: int) -> list[str]:
        notes = self._by_topic.get(topic, [])
        start = bisect_right(notes, revision, key=_revision)
        return list(dict.fromkeys(note for _, note in notes[start:]))

    def _forget_oldest(self) -> None:
        del self._turns[self.horizon]
        # Notes of the new horizon itself are not needed either: they are known to whoever stands there.
        while self._noted and self._noted[0][0] <= self.horizon:
            _, topic = self._noted.popleft()
            notes = self._by_topic[topic]
            if len(notes) == 1:
                del self._by_topic[topic]
            else:
                del notes[0]


def _entered_by(host: str) -> str:
    return "\0" + host  # no scope is called so


def _revision(note: tuple[int, str]) -> int:
    return note[0]
