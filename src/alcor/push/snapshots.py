# SPDX-License-Identifier: Apache-2.0
"""Snapshots of scopes in encoded chunks, shared by all hosts that enter a scope at about the same time."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping

from alcor.goal.compiler import Compiler
from alcor.push import encode
from alcor.push.recent import Recent

_ROW_OVERHEAD_BYTES = 8  # of a row on the wire besides its key and body
_KEPT_BYTES_MAX = 64 << 20  # of snapshots kept for the next host


class Snapshot:
    """The rows of one scope as they were at `revision` or later, in chunks that are made when first asked for.

    A chunk may be newer than `revision`: whoever gets it is also sent every change since `revision`, and takes those
    over the chunks.
    """

    def __init__(self, scope: str, rows: Mapping[str, bytes], revision: int) -> None:
        self.scope = scope
        self.revision = revision
        self.length_bytes = 0
        self._rows = rows
        self._keys: list[list[str]] = []
        self._made: dict[int, bytes] = {}

    @classmethod
    def of(cls, compiler: Compiler, scope: str, revision: int, chunk_bytes_max: int) -> "Snapshot":
        """A snapshot of the scope as it is, cut into chunks."""
        snapshot = cls(scope, compiler.rows(scope), revision)
        for keys, length in _cut(compiler.rows(scope), chunk_bytes_max):
            snapshot._keys.append(keys)
            snapshot.length_bytes += length
        return snapshot

    @property
    def chunks(self) -> int:
        """How many chunks there are: at least one."""
        return len(self._keys)

    def rows_of(self, chunk: int) -> int:
        """How many rows the chunk was cut with."""
        return len(self._keys[chunk])

    def chunk(self, chunk: int) -> bytes:
        """The rows of one chunk, encoded for `encode.enter`."""
        made = self._made.get(chunk)
        if made is None:
            made = self._made[chunk] = encode.enter_rows(self._rows, self._keys[chunk])
        return made


class Snapshots:
    """The snapshots that are worth keeping."""

    def __init__(self, compiler: Compiler, recent: Recent, chunk_bytes_max: int) -> None:
        self._compiler = compiler
        self._recent = recent
        self._chunk_bytes_max = chunk_bytes_max
        self._kept: OrderedDict[str, Snapshot] = OrderedDict()
        self._kept_bytes = 0

    def of(self, scope: str, revision: int) -> Snapshot:
        """A snapshot for a host to be sent now, `revision` being the present one.

        It is exact if it has one chunk; a longer one may be older, and `missed` tells what it lacks.
        """
        kept = self._kept.get(scope)
        if kept is not None and self._is_fresh(kept):
            self._kept.move_to_end(scope)
            return kept
        if kept is not None:
            self._kept_bytes -= self._kept.pop(scope).length_bytes
        made = Snapshot.of(self._compiler, scope, revision, self._chunk_bytes_max)
        self._kept[scope] = made
        self._kept_bytes += made.length_bytes
        while self._kept_bytes > _KEPT_BYTES_MAX and len(self._kept) > 1:
            self._kept_bytes -= self._kept.popitem(last=False)[1].length_bytes
        return made

    def missed(self, snapshot: Snapshot) -> list[str]:
        """The keys of rows that changed since the snapshot's revision; to be called when it begins to be sent."""
        return self._recent.changed(snapshot.scope, snapshot.revision)

    def _is_fresh(self, snapshot: Snapshot) -> bool:
        if not self._recent.covers_revision(snapshot.revision):
            return False
        changed = len(self._recent.changed(snapshot.scope, snapshot.revision))
        return not changed or (snapshot.chunks > 1 and changed <= snapshot.rows_of(0))


def _cut(rows: Mapping[str, bytes], chunk_bytes_max: int) -> Iterator[tuple[list[str], int]]:
    """The keys of each chunk and its length in bytes; a scope without rows has one empty chunk."""
    keys: list[str] = []
    length = 0
    for key, body in rows.items():
        row_bytes = len(key) + len(body) + _ROW_OVERHEAD_BYTES
        if keys and length + row_bytes > chunk_bytes_max:
            yield keys, length
            keys, length = [], 0
        keys.append(key)
        length += row_bytes
    yield keys, length
