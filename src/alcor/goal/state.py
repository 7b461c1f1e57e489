# SPDX-License-Identifier: Apache-2.0
"""The goal state of all hosts: rows and interest together, moved by one step per turn."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from alcor.goal.compiler import Compiler, RowChange, Source
from alcor.goal.declare import GoalFeature
from alcor.goal.interest import Interest, Moves
from alcor.store.declare import Change
from alcor.store.reader import Reader


class Step(NamedTuple):
    """What one turn means for hosts: rows that changed, and, after them, who needs which scopes."""

    rows: list[RowChange]
    moves: Moves


class Goal:
    """Rows by scope and hosts by interest. Whole once `load` has run to its end, which `apply` may interrupt."""

    def __init__(self, features: Sequence[GoalFeature]) -> None:
        self.compiler = Compiler(features)
        self.interest = Interest(features)
        self._is_loading = False
        self._late: list[RowChange] | None = None  # what came while interest was spread

    def load(self, source: Source) -> Iterator[None]:
        """Fills an empty goal from the state, pausing every few milliseconds."""
        self._is_loading = True
        return self._load(self.compiler.load(source))

    def apply(self, reader: Reader, changes: Iterable[Change]) -> Step:
        """Takes one turn's changes, `reader` being the state right after them."""
        rows = self.compiler.apply(reader, changes)
        if self._is_loading:
            if self._late is None:
                self.interest.note(rows)
            else:
                self._late += rows
            return Step(rows, Moves([], []))
        return Step(rows, self.interest.apply(rows))

    def _load(self, slices: Iterator[list[RowChange]]) -> Iterator[None]:
        for changes in slices:
            self.interest.note(changes)
            yield
        self._late = []
        for _ in self.interest.spread():
            yield
        self.interest.apply(self._late)
        self._late = None
        self._is_loading = False
