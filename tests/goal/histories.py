# SPDX-License-Identifier: Apache-2.0
"""Histories as values: turns of writes, expanders of them, and a goal that is checked after each."""

from collections.abc import Callable, Iterator, Sequence
from random import Random

from alcor.base.wire.digest import digest_of
from alcor.goal import compiler, interest
from alcor.goal.declare import GoalFeature
from alcor.goal.state import Goal, Step
from alcor.store.declare import Change, Position, Schema, Stored, Table
from alcor.store.log.contract import Record
from alcor.store.log.contract import Turn as LoggedTurn
from alcor.store.plan import encode
from alcor.store.tables import Tables
from alcor.store.turn import apply_turn

Write = tuple[Table, str, Stored | None]
Turn = Sequence[Write]
History = Sequence[Turn]


class State:
    """Tables that take turns of writes, as a store would; a write that changes nothing is none."""

    def __init__(self, schema: Schema, *, epoch: int = 0) -> None:
        self.tables = Tables(schema)
        self._epoch = epoch  # tells the turns of one log from those of another

    def take(self, turn: Turn) -> list[Change]:
        """Applies a turn; answers its changes in the form that followers get them."""
        records: list[Record] = []
        now: dict[tuple[str, str], Stored | None] = {}
        for table, key, new in turn:
            old = now[table.name, key] if (table.name, key) in now else self.tables.peek(table, key)
            if old != new:
                records.append(Record(table.name, key, _row(old), _row(new)))
                now[table.name, key] = new
        revision = self.tables.revision + len(records)
        position = Position(revision, f"{self._epoch:016x}{revision:016x}")
        return apply_turn(self.tables, LoggedTurn(position, 0.0, records))


def _row(stored: Stored | None) -> bytes | None:
    return None if stored is None else encode(stored)


class CheckedGoal:
    """A goal over its own tables; after every turn it must be what is derived from nothing."""

    def __init__(self, schema: Schema, features: Sequence[GoalFeature]) -> None:
        self.features = features
        self.state = State(schema)
        self.goal = Goal(features)
        self._rows: dict[tuple[str, str], bytes] = {}
        self._needs: set[tuple[str, str]] = set()

    def take(self, turn: Turn) -> Step:
        """Applies a turn and checks rows, interest, digests, and that what was answered is the whole difference."""
        step = self.goal.apply(self.state.tables, self.state.take(turn))
        self._follow(step)
        self.check()
        return step

    def check(self) -> None:
        """Rows and interest are what is derived from nothing."""
        rows = compiler.from_scratch(self.features, self.state.tables)
        encoded = {
            scope: {key: compiler.encode_row(row) for key, row in of_scope.items()}
            for scope, of_scope in rows.items()
        }
        compiled = self.goal.compiler
        assert {scope: dict(compiled.rows(scope)) for scope in compiled.scopes()} == encoded
        for scope in compiled.scopes():
            assert compiled.digest(scope) == digest_of(compiled.rows(scope).items())

        needed = interest.from_scratch(self.features, rows)
        hosts = {*self.goal.interest.all_hosts(), *needed}
        assert {host: set(self.goal.interest.scopes(host)) for host in hosts} == {
            host: needed.get(host, {f"host:{host}"}) for host in hosts
        }
        for scope in {scope for scopes in needed.values() for scope in scopes}:
            assert set(self.goal.interest.hosts(scope)) == {
                h for h, scopes in needed.items() if scope in scopes
            }

    def _follow(self, step: Step) -> None:
        for change in step.rows:
            assert self._rows.get((change.scope, change.key)) == change.old != change.new
            self._rows.pop((change.scope, change.key), None)
            if change.new is not None:
                self._rows[change.scope, change.key] = change.new
        for host, scope in step.moves.left:
            self._needs.remove((host, scope))
        for host, scope in step.moves.entered:
            assert (host, scope) not in self._needs
            self._needs.add((host, scope))
        compiled = self.goal.compiler
        assert self._rows == {
            (scope, key): body for scope in compiled.scopes() for key, body in compiled.rows(scope).items()
        }
        assert self._needs == {
            (host, scope)
            for host in self.goal.interest.all_hosts()
            for scope in self.goal.interest.scopes(host)
            if scope != f"host:{host}"
        }


def as_is(history: History) -> Iterator[Turn]:
    """The history itself."""
    yield from history


def there_and_back(history: History) -> Iterator[Turn]:
    """The history, and then everything that it made deleted, the last first."""
    yield from history
    made = dict.fromkeys((table, key) for turn in history for table, key, _ in turn)
    for table, key in reversed(made):
        yield [(table, key, None)]


def reversed_order(history: History) -> Iterator[Turn]:
    """The last turn first, each backwards: what refers comes before what it refers to."""
    for turn in reversed(history):
        yield list(reversed(turn))


def squashed(history: History) -> Iterator[Turn]:
    """Everything in one turn."""
    yield [write for turn in history for write in turn]


def split(history: History) -> Iterator[Turn]:
    """Every write in a turn of its own."""
    for turn in history:
        for write in turn:
            yield [write]


def with_empties(history: History) -> Iterator[Turn]:
    """Turns without a write between, and each turn repeated."""
    for turn in history:
        yield []
        yield turn
        yield turn


def twice(history: History) -> Iterator[Turn]:
    """The history, everything deleted in one turn, and the history again."""
    yield from history
    made = dict.fromkeys((table, key) for turn in history for table, key, _ in turn)
    yield [(table, key, None) for table, key in made]
    yield from history


EXPANDERS: tuple[Callable[[History], Iterator[Turn]], ...] = (
    as_is,
    there_and_back,
    reversed_order,
    squashed,
    split,
    with_empties,
    twice,
)


def random_turns(write: Callable[[Random], Write], seed: int, turns: int) -> Iterator[Turn]:
    """A reproducible history of turns of one to five writes."""
    random = Random(seed)
    for _ in range(turns):
        yield [write(random) for _ in range(random.choice((1, 1, 2, 5)))]
