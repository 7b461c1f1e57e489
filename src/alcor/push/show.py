# SPDX-License-Identifier: Apache-2.0
"""What operators may ask of push: which hosts follow and how far, what each holds, who holds a scope, where a row is.

Reads only; answers are plain structs for `alcor show` and programs.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from alcor.goal.declare import host_scope
from alcor.push.core import Publisher


class HostShown(msgspec.Struct, kw_only=True):
    """One host and how far it has come."""

    host: str
    is_connected: bool
    scopes: list[str]  # that it needs
    own_rows: int
    told: int | None = None  # revision of the log up to which it was sent everything
    acked: int | None = None  # revision up to which its switch has everything
    is_whole: bool = False  # it was sent everything that it needs
    waiting_rows: int = 0
    waiting_bytes: int = 0
    failures: list[dict[str, str]] = []


class RowShown(msgspec.Struct, kw_only=True):
    """A row where it stands, and the hosts that need it."""

    scope: str
    key: str
    row: Any
    hosts: list[str]


class Shown(msgspec.Struct, kw_only=True):
    """An answer; what was not asked for is left empty."""

    revision: int
    hosts: list[HostShown] = []
    rows: list[RowShown] = []


def answer(publisher: Publisher, what: str, name: str) -> Shown | None:
    """The answer to `hosts`, `host NAME`, `scope NAME` or `row KEY`; None if there is no such thing."""
    goal = publisher.goal
    known = {session.host for session in publisher.sessions()}.union(goal.interest.all_hosts())
    hosts: Iterable[str] = ()
    rows: list[RowShown] = []
    match what:
        case "hosts":
            hosts = known
        case "host" if name in known:
            hosts = (name,)
            rows = [row for scope in goal.interest.scopes(name) for row in _rows(publisher, scope)]
        case "scope" if name in goal.compiler.scopes():
            hosts = goal.interest.hosts(name)
            rows = _rows(publisher, name)
        case "row":
            scopes = [scope for scope in goal.compiler.scopes() if name in goal.compiler.rows(scope)]
            rows = [row for scope in sorted(scopes) for row in _rows(publisher, scope, name)]
            hosts = {host for row in rows for host in row.hosts}
        case _:
            return None
    if what == "row" and not rows:
        return None
    shown = [_host(publisher, host) for host in sorted(hosts)]
    return Shown(revision=publisher.position.revision, hosts=shown, rows=rows)


def _host(publisher: Publisher, host: str) -> HostShown:
    shown = HostShown(
        host=host,
        is_connected=False,
        scopes=publisher.goal.interest.scopes(host),
        own_rows=len(publisher.goal.compiler.rows(host_scope(host))),
    )
    session = publisher.session(host)
    if session is not None:
        shown.is_connected = True
        shown.told = session.told.revision if session.told else None
        shown.acked = session.acked.revision if session.acked else None
        shown.is_whole = session.is_whole
        shown.waiting_rows, shown.waiting_bytes = session.waiting
        shown.failures = [
            {"scope": scope, "key": key, "reason": reason}
            for (scope, key), reason in session.failures.items()
        ]
    return shown


def _rows(publisher: Publisher, scope: str, key: str | None = None) -> list[RowShown]:
    rows: Mapping[str, bytes] = publisher.goal.compiler.rows(scope)
    hosts = sorted(publisher.goal.interest.hosts(scope))
    keys = sorted(rows) if key is None else [key]
    return [
        RowShown(scope=scope, key=key, row=msgspec.msgpack.decode(rows[key]), hosts=hosts) for key in keys
    ]
