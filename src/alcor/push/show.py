# SPDX-License-Identifier: Apache-2.0
"""What operators may ask: what is wanted of hosts, what they were told, what they hold, and what their switches have.

Reads only, and asks hosts through `push.inspect`; answers are plain structs for `alcor show` and programs, described
field by field in docs/show.md.
"""

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from alcor.base.wire.digest import digest_bytes, row_hash
from alcor.base.wire.held import Held, Listed, RowFault, ScopeHeld
from alcor.goal.declare import host_scope
from alcor.push.core import Publisher
from alcor.push.session import HostSession

ROWS_MAX = 2_000  # listed in one answer; the rest is counted
NAMED_MAX = 200  # listed of those that have a name
HOSTS_MAX = 200  # asked for one answer; the others are not
SLICE = 500  # things looked at before others in the loop get their turn


class ScopeState(msgspec.Struct, kw_only=True):
    """One scope on one host."""

    scope: str
    state: str  # same, behind, different, incomplete, missing, not needed; empty: the host does not say
    wanted: int  # rows
    held: int | None = None  # rows, as the host says


class RowState(msgspec.Struct, kw_only=True):
    """One row on one host."""

    scope: str
    state: str  # same, behind, different, missing, not needed


class HostShown(msgspec.Struct, kw_only=True):
    """One host: how far it has come, and what it says that it has."""

    host: str
    is_connected: bool = False
    told: int | None = None  # revision of the log up to which it was sent everything
    acked: int | None = None  # revision up to which its switch has everything
    lag: int | None = None  # revisions that its switch is behind what it was told
    is_whole: bool = False  # it was sent everything that it needs
    own_rows: int = 0  # in its own scope
    rows: int = 0  # in all scopes that it needs
    scopes: int = 0  # that it needs
    waiting_rows: int = 0
    waiting_bytes: int = 0
    failures: Listed[RowFault] = Listed()  # rows that it acknowledged as failing
    silence: str = ""  # why it does not say what it has
    held: Held | None = None  # what it says that it has
    scope_states: list[ScopeState] = []  # of the scopes that were asked for
    row_states: list[RowState] = []  # of the row that was asked for


class RowShown(msgspec.Struct, kw_only=True):
    """A row as push derives it."""

    key: str
    row: dict[str, Any]


class ScopeShown(msgspec.Struct, kw_only=True):
    """A scope, the hosts that need it, and its rows, or the one that was asked for."""

    scope: str
    hosts: list[str]
    rows: Listed[RowShown]


class AgentRefused(msgspec.Struct, kw_only=True):
    """Agents from one place that were refused for one reason, since push started."""

    peer: str
    reason: str
    count: int
    last_at: str


class Shown(msgspec.Struct, kw_only=True):
    """An answer; what was not asked for is left empty."""

    revision: int  # of the log, that everything here was derived at
    hosts: list[HostShown] = []
    scopes: list[ScopeShown] = []
    refused: list[AgentRefused] = []  # the latest first
    named: list[str] = []  # keys of rows, where several have the name that was asked for


class Source(Protocol):
    """What an answer is made from; `push.service.Service` is one."""

    @property
    def publisher(self) -> Publisher:
        """The present goal state and sessions."""

    def refused(self) -> list[AgentRefused]:
        """Which agents were refused lately."""

    def named(self, name: str) -> Awaitable[list[str]]:
        """The ids of what stands for rows and has this name."""

    def inspect(self, session: HostSession, what: str, name: str) -> Awaitable[Held | str]:
        """What the host has, or why it does not say."""


async def answer(source: Source, what: str, name: str) -> Shown | None:
    """The answer to `hosts`, `host NAME`, `scope NAME` or `row KEY-OR-NAME`; None if there is no such thing."""
    match what:
        case "hosts":
            return await _all_hosts(source)
        case "host":
            return await _one_host(source, name)
        case "scope":
            return await _one_scope(source, name)
        case "row":
            return await _one_row(source, name)
        case _:
            return None


async def _all_hosts(source: Source) -> Shown:
    publisher = source.publisher
    shown = Shown(revision=publisher.position.revision, refused=source.refused())
    for host in sorted(_known(publisher)):
        shown.hosts.append(_host(publisher, host))
        await asyncio.sleep(0)
    return shown


async def _one_host(source: Source, name: str) -> Shown | None:
    publisher = source.publisher
    if name not in _known(publisher):
        return None
    told = await _told(source, name, "host", "")
    needed = sorted(publisher.goal.interest.scopes(name))
    told.scope_states = _scope_states(publisher, told, needed)
    scopes = await _scopes(publisher, needed)
    return Shown(revision=publisher.position.revision, hosts=[told], scopes=scopes)


async def _one_scope(source: Source, name: str) -> Shown | None:
    publisher = source.publisher
    if name not in publisher.goal.compiler.scopes():
        return None
    hosts = await _told_many(source, publisher.goal.interest.hosts(name), "scope", name)
    for told in hosts:
        told.scope_states = _scope_states(publisher, told, [name])
    scopes = await _scopes(publisher, [name])
    return Shown(revision=publisher.position.revision, hosts=hosts, scopes=scopes)


async def _one_row(source: Source, key: str) -> Shown | None:
    """Where the row stands; the hosts whose own row it is are asked what became of it."""
    publisher = source.publisher
    found = await _placed(publisher, [key]) or await _placed(publisher, (await source.named(key))[:NAMED_MAX])
    if len(found) != 1:
        return Shown(revision=publisher.position.revision, named=sorted(found)) if found else None
    [(key, places)] = found.items()
    own = host_scope("")
    bound = [scope.removeprefix(own) for scope in places if scope.startswith(own)]
    hosts = await _told_many(source, bound, "row", key)
    for told in hosts:
        told.row_states = _row_states(publisher, told, key, places)
    scopes = await _scopes(publisher, sorted(places), key)
    return Shown(revision=publisher.position.revision, hosts=hosts, scopes=scopes)


async def _placed(publisher: Publisher, keys: Collection[str]) -> dict[str, list[str]]:
    """The scopes in which there are rows under these keys."""
    found: dict[str, list[str]] = {}
    for number, scope in enumerate(list(publisher.goal.compiler.scopes()) if keys else ()):
        if number % max(SLICE // len(keys), 1) == 0:
            await asyncio.sleep(0)
        rows = publisher.goal.compiler.rows(scope)
        for key in (key for key in keys if key in rows):
            found.setdefault(key, []).append(scope)
    return found


async def _told_many(source: Source, hosts: Iterable[str], what: str, name: str) -> list[HostShown]:
    """All of the hosts; the first HOSTS_MAX with a session are asked, at once."""
    publisher = source.publisher
    ordered = sorted(hosts)
    asked = [host for host in ordered if publisher.session(host) is not None][:HOSTS_MAX]
    told = {
        shown.host: shown
        for shown in await asyncio.gather(*(_told(source, host, what, name) for host in asked))
    }
    return [told.get(host) or _unasked(source.publisher, host) for host in ordered]


async def _told(source: Source, host: str, what: str, name: str) -> HostShown:
    session = source.publisher.session(host)
    if session is None:
        return _unasked(source.publisher, host)
    held = await source.inspect(session, what, name)
    shown = _host(source.publisher, host)
    if isinstance(held, str):
        shown.silence = held
    else:
        shown.held = held
    return shown


def _unasked(publisher: Publisher, host: str) -> HostShown:
    shown = _host(publisher, host)
    shown.silence = f"only {HOSTS_MAX} hosts are asked at once" if shown.is_connected else "it has no session"
    return shown


def _host(publisher: Publisher, host: str) -> HostShown:
    compiler, needed = publisher.goal.compiler, publisher.goal.interest.scopes(host)
    shown = HostShown(
        host=host,
        scopes=len(needed),
        rows=sum(len(compiler.rows(scope)) for scope in needed),
        own_rows=len(compiler.rows(host_scope(host))),
    )
    session = publisher.session(host)
    if session is not None:
        shown.is_connected = True
        shown.told = session.told.revision if session.told else None
        shown.acked = session.acked.revision if session.acked else None
        if shown.told is not None and shown.acked is not None:
            shown.lag = max(0, shown.told - shown.acked)
        shown.is_whole = session.is_whole
        shown.waiting_rows, shown.waiting_bytes = session.waiting
        failing = (
            RowFault(scope=scope, key=key, reason=reason) for (scope, key), reason in session.failures.items()
        )
        shown.failures = Listed.of(failing, ROWS_MAX)
    return shown


def _scope_states(publisher: Publisher, told: HostShown, scopes: Iterable[str]) -> list[ScopeState]:
    """Each of `scopes`, and what the host holds besides."""
    of_host = told.held.scopes if told.held is not None else Listed[ScopeHeld]()
    is_told = told.held is not None and of_host.count == len(of_host.first)
    held = {scope.scope: scope for scope in of_host.first}
    needed = set(publisher.goal.interest.scopes(told.host))
    states = []
    for scope in sorted({*scopes, *held}):
        there = held.get(scope)
        states.append(
            ScopeState(
                scope=scope,
                state=_scope_state(publisher, told, scope, there) if there or is_told else "",
                wanted=len(publisher.goal.compiler.rows(scope)) if scope in needed else 0,
                held=there.rows if there is not None else None,
            )
        )
        if scope not in needed:
            states[-1].state = "not needed"
    return states


def _scope_state(publisher: Publisher, told: HostShown, scope: str, held: ScopeHeld | None) -> str:
    wanted = digest_bytes(publisher.goal.compiler.digest(scope)).hex()
    if held is not None and held.digest == wanted:
        return "same"
    if _is_behind(told):
        return "behind"
    if held is None:
        return "missing"
    return "different" if held.digest else "incomplete"


def _row_states(publisher: Publisher, told: HostShown, key: str, wanted: Iterable[str]) -> list[RowState]:
    if told.held is None or told.held.row is None:
        return []
    needed = set(publisher.goal.interest.scopes(told.host))
    held = {place.scope: place.hash for place in told.held.row.places}
    states = []
    for scope in sorted(needed.intersection(wanted) | held.keys()):
        body = publisher.goal.compiler.rows(scope).get(key) if scope in needed else None
        if body is None:
            state = "not needed"
        elif held.get(scope) == f"{row_hash(key, body):032x}":
            state = "same"
        elif _is_behind(told):
            state = "behind"
        else:
            state = "different" if scope in held else "missing"
        states.append(RowState(scope=scope, state=state))
    return states


def _is_behind(told: HostShown) -> bool:
    """Whether the host stood, when it answered, where it was not told everything that is known now."""
    assert told.held is not None
    return not told.is_whole or told.held.revision != told.told


async def _scopes(publisher: Publisher, names: Iterable[str], key: str | None = None) -> list[ScopeShown]:
    """The scopes with their rows, or the one under `key`, as many as fit into an answer."""
    left = ROWS_MAX
    found = []
    for name in names:
        rows: Mapping[str, bytes] = publisher.goal.compiler.rows(name)
        keys = [key] if key is not None else sorted(rows)
        first = tuple(_row(rows, each) for each in keys[:left] if each in rows)
        left -= len(first)
        hosts = sorted(publisher.goal.interest.hosts(name))
        found.append(ScopeShown(scope=name, hosts=hosts, rows=Listed(len(keys), first)))
        await asyncio.sleep(0)
    return found


def _row(rows: Mapping[str, bytes], key: str) -> RowShown:
    return RowShown(key=key, row=msgspec.msgpack.decode(rows[key]))


def _known(publisher: Publisher) -> set[str]:
    return {session.host for session in publisher.sessions()}.union(publisher.goal.interest.all_hosts())
