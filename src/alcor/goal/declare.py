# SPDX-License-Identifier: Apache-2.0
"""How a feature declares who must know what: objects to rows in scopes, rows to further scopes, what hosts report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from alcor.dataplane.rows import Claim, Row
from alcor.store.declare import Change, Stored, Table
from alcor.store.reader import Reader, Txn

T = TypeVar("T", bound=Stored)
R = TypeVar("R", bound=Row)


def host_scope(host: str) -> str:
    """The scope that a host always enters: its own."""
    return f"host:{host}"


class View(Protocol):
    """The state as a derivation sees it. Every read is recorded: a change of that object derives again."""

    def peek(self, table: Table[T], id: str) -> T | None:
        """The object, or None."""


class Placed(NamedTuple):
    """A row in a scope. Several objects may place equal rows under one (scope, key): contributions are counted."""

    scope: str
    key: str
    row: Row


@dataclass(frozen=True)
class Derivation(Generic[T]):
    """Each object of `table` stands for the rows that `derive` places, a pure function of it and of what it reads."""

    table: Table[T]
    derive: Callable[[View, T], Iterable[Placed]]


@dataclass(frozen=True)
class Need(Generic[R]):
    """A host that holds a row of `kind` also needs these scopes, complete. Interest is the closure, counted."""

    kind: type[R]
    scopes: Callable[[R], Iterable[str]]


class Report(NamedTuple):
    """One row of `host:H` as its host reports it: realised in this generation, or not (any more) with the reason."""

    key: str
    generation: int
    is_realised: bool
    reason: str = ""


@dataclass(frozen=True)
class Observer:
    """What a feature makes of what hosts say. Each runs inside a turn, may run twice, and writes observed tables
    (and `on_hello` the host's registration). Nothing here may refuse: what is stale is ignored.
    """

    on_hello: Callable[[Txn, str, HelloFacts], None] | None = None
    on_reports: Callable[[Txn, str, Sequence[Report]], None] | None = None
    on_claims: Callable[[Txn, str, Sequence[Claim]], None] | None = None
    # What the passing of time asks for: whether there is anything at this utc_text, and the turn that does it.
    is_due: Callable[[Reader, str], bool] | None = None
    on_due: Callable[[Txn, str], None] | None = None
    on_life: Callable[[Txn, Life], None] | None = None
    living: Callable[[Reader], Iterable[Life]] | None = None  # the hosts that are held to be alive
    life_in: Callable[[Change], Life | None] | None = None  # what a record of the log says of a host's life


@dataclass(frozen=True)
class HelloFacts:
    """What an agent says of itself when its session opens."""

    tunnel_ip: str
    version: str
    bridge: str
    now: str  # utc_text
    push: str = ""  # the push that the host has come to, as `Life` has it
    bridge_mappings: Mapping[str, str] = field(
        default_factory=dict
    )  # physical network -> the host's bridge to it
    availability_zone: str = ""


class Life(NamedTuple):
    """A host is alive, or gone, by the word of the push that it came to. With several on one log, that a host is gone
    counts only from the one that it came to last: the others' word is late.
    """

    host: str
    is_alive: bool
    push: str
    now: str  # utc_text


@dataclass(frozen=True)
class GoalFeature:
    """What one feature brings to goal."""

    name: str
    derivations: tuple[Derivation[Any], ...] = ()
    needs: tuple[Need[Any], ...] = ()
    observers: tuple[Observer, ...] = ()
