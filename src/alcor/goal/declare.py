# SPDX-License-Identifier: Apache-2.0
"""How a feature declares who must know what: objects to rows in scopes, rows to further scopes, what hosts report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from alcor.dataplane.rows import Row
from alcor.store.declare import Stored, Table
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
    on_liveness: Callable[[Txn, str, bool, str], None] | None = None  # (txn, host, is_alive, now as utc_text)
    living: Callable[[Reader], Iterable[str]] | None = (
        None  # hosts held to be alive: push expects them when it starts
    )


@dataclass(frozen=True)
class HelloFacts:
    """What an agent says of itself when its session opens."""

    tunnel_ip: str
    version: str
    bridge: str
    now: str  # utc_text


@dataclass(frozen=True)
class GoalFeature:
    """What one feature brings to goal."""

    name: str
    derivations: tuple[Derivation[Any], ...] = ()
    needs: tuple[Need[Any], ...] = ()
    observers: tuple[Observer, ...] = ()
