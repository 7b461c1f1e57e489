# SPDX-License-Identifier: Apache-2.0
"""What this host knows: rows in scopes as push sends them, and what of them really changed.

Derives nothing from rows (`agent.derive`) and speaks to nobody (`agent.session`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar, Union

import msgspec

from alcor.base.wire.alcor_pb2 import Row as WireRow
from alcor.base.wire.digest import INCOMPLETE, digest_bytes, digest_of, interest_hash
from alcor.dataplane.rows import Row

R = TypeVar("R", bound=Row)


class Position(NamedTuple):
    """A point in the log."""

    revision: int
    turn: bytes


@dataclass(frozen=True, slots=True)
class Changed:
    """What one message changed. Rows only if they really differ."""

    rows: set[tuple[str, type[Row], str]] = field(
        default_factory=set
    )  # (scope, kind, key): came, changed or went
    entered: set[str] = field(default_factory=set)  # scopes that became complete
    left: set[str] = field(default_factory=set)  # scopes that are not complete any more

    def __bool__(self) -> bool:
        return bool(self.rows or self.entered or self.left)

    def update(self, other: "Changed") -> None:
        """Adds what another message changed after this one."""
        self.rows.update(other.rows)
        self.entered.difference_update(other.left)
        self.left.difference_update(other.entered)
        self.entered.update(other.entered)
        self.left.update(other.left)


class HostRows:
    """The rows of this host by scope and key. A row of an unknown kind stays bytes; a broken one is a fault."""

    def __init__(self, kinds: Sequence[type[Row]]) -> None:
        self.position: Position | None = None
        self.is_whole = False  # everything that this host needs has been received since the agent started
        self.complete: set[str] = set()
        self.scopes: dict[str, dict[str, Row]] = {}
        self.faults: dict[tuple[str, str], str] = {}  # (scope, key) of rows that cannot be read -> reason
        self._bodies: dict[str, dict[str, bytes]] = {}
        self._staged: dict[str, _Staged] = {}
        self._decode = msgspec.msgpack.Decoder(Union[tuple(kinds)]).decode  # noqa: UP007  # made of a tuple
        self._decode_kind = msgspec.msgpack.Decoder(_Kind).decode
        self._kinds = frozenset(kind.__struct_config__.tag for kind in kinds)

    def row(self, kind: type[R], scope: str, key: str) -> R | None:
        """The row, if it is there and of this kind."""
        row = self.scopes.get(scope, {}).get(key)
        return row if isinstance(row, kind) else None

    def rows(self, kind: type[R], scope: str) -> list[R]:
        """The rows of a kind in a scope, in order of key."""
        rows = self.scopes.get(scope, {})
        return [row for key in sorted(rows) if isinstance(row := rows[key], kind)]

    def interest(self) -> bytes:
        """The hash of the names of the scopes that are held."""
        return interest_hash(self.complete, self._bodies.keys() - self.complete)

    def digests(self) -> list[tuple[str, bytes]]:
        """The digest of every scope that is held."""
        return [(scope, self.digest(scope)) for scope in self._bodies]

    def digest(self, scope: str) -> bytes:
        """The digest of a scope; INCOMPLETE if it was not received whole."""
        if scope not in self.complete:
            return INCOMPLETE
        return digest_bytes(digest_of(self._bodies[scope].items()))

    def bodies(self) -> Mapping[str, Mapping[str, bytes]]:
        """The rows by scope and key as they were received, those included that cannot be read."""
        return self._bodies

    def forget_staged(self) -> None:
        """Forgets snapshots that were not received whole; the scopes keep their old rows and stay incomplete."""
        self._staged.clear()

    def enter(self, scope: str, rows: Iterable[WireRow], *, is_last: bool) -> Changed:
        """Takes a chunk of a snapshot; the last one replaces the scope."""
        changed = Changed()
        staged = self._staged.get(scope)
        if staged is None:
            staged = self._staged[scope] = _Staged()
            if scope in self.complete and not is_last:
                self.complete.discard(scope)
                changed.left.add(scope)
        for row in rows:
            staged.bodies[row.key] = row.body
        if is_last:
            del self._staged[scope]
            bodies = staged.merged()
            self._replace(scope, bodies, changed)
            self.complete.add(scope)
            changed.entered.add(scope)
        return changed

    def delta(self, rows: Iterable[WireRow]) -> Changed:
        """Takes changed rows; those of scopes that were not entered are skipped: their snapshot will have them."""
        changed = Changed()
        for row in rows:
            body = row.body if row.HasField("body") else None
            if (staged := self._staged.get(row.scope)) is not None:
                staged.newer[row.key] = body
            if row.scope in self._bodies:
                self._put(row.scope, row.key, body, changed)
        return changed

    def leave(self, scope: str) -> Changed:
        """Forgets a scope."""
        changed = Changed()
        self._staged.pop(scope, None)
        if scope in self._bodies:
            self._replace(scope, {}, changed)
            del self._bodies[scope], self.scopes[scope]
        if scope in self.complete:
            self.complete.discard(scope)
            changed.left.add(scope)
        return changed

    def _replace(self, scope: str, bodies: dict[str, bytes], changed: Changed) -> None:
        old = self._bodies.setdefault(scope, {})
        self.scopes.setdefault(scope, {})
        for key in old.keys() - bodies.keys():
            self._put(scope, key, None, changed)
        for key, body in bodies.items():
            self._put(scope, key, body, changed)

    def _put(self, scope: str, key: str, body: bytes | None, changed: Changed) -> None:
        bodies, rows = self._bodies[scope], self.scopes[scope]
        if bodies.get(key) == body:
            return
        if (old := rows.pop(key, None)) is not None:
            changed.rows.add((scope, type(old), key))
        self.faults.pop((scope, key), None)
        if body is None:
            del bodies[key]
            return
        bodies[key] = body
        if (row := self._decoded(scope, key, body)) is not None:
            rows[key] = row
            changed.rows.add((scope, type(row), key))

    def _decoded(self, scope: str, key: str, body: bytes) -> Row | None:
        try:
            row: Row = self._decode(body)
        except msgspec.MsgspecError as error:
            if self._is_known_kind(body):
                self.faults[scope, key] = f"The row cannot be read: {error}"
            return None
        return row

    def _is_known_kind(self, body: bytes) -> bool:
        try:
            return self._decode_kind(body).kind in self._kinds
        except msgspec.MsgspecError:
            return True  # not even a row: a fault, not a newer version's kind


class _Kind(msgspec.Struct):
    kind: str


class _Staged:
    """A snapshot under way, and what changed meanwhile."""

    __slots__ = ("bodies", "newer")

    def __init__(self) -> None:
        self.bodies: dict[str, bytes] = {}
        self.newer: dict[str, bytes | None] = {}  # None: gone

    def merged(self) -> dict[str, bytes]:
        """The scope as it is; a change wins over a chunk, whichever came first."""
        for key, body in self.newer.items():
            if body is None:
                self.bodies.pop(key, None)
            else:
                self.bodies[key] = body
        return self.bodies
