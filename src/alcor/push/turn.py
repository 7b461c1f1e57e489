# SPDX-License-Identifier: Apache-2.0
"""The rows that changed in one turn, encoded once for all hosts that are concerned."""

from collections.abc import Iterable, Iterator, Mapping

from alcor.goal.compiler import Compiler, RowChange
from alcor.push import encode
from alcor.store.declare import Position

_Fields = tuple[int, bytes]  # rows, and their encoded fields


class Turn:
    """Changed rows by scope. Hosts that stand at the same position and are concerned by the same scopes share bytes."""

    def __init__(self, position: Position, changes: Iterable[RowChange], chunk_bytes_max: int) -> None:
        self.position = position
        self._changes: dict[str, list[RowChange]] = {}
        for change in changes:
            self._changes.setdefault(change.scope, []).append(change)
        self._chunk_bytes_max = chunk_bytes_max
        self._fields: dict[str, list[_Fields]] = {}
        self._deltas: dict[tuple[Position | None, tuple[str, ...], bool], list[_Fields]] = {}

    @classmethod
    def of_current(
        cls,
        compiler: Compiler,
        keys: Iterable[tuple[str, Iterable[str]]],
        position: Position,
        chunk_bytes_max: int,
    ) -> "Turn":
        """The rows under these keys, by scope, as they are."""
        changes = []
        for scope, changed in keys:
            rows: Mapping[str, bytes] = compiler.rows(scope)
            changes += [RowChange(scope, key, None, rows.get(key), None, None) for key in changed]
        return cls(position, changes, chunk_bytes_max)

    @property
    def scopes(self) -> Iterable[str]:
        """The scopes whose rows changed."""
        return self._changes.keys()

    def deltas(
        self, after: Position | None, scopes: tuple[str, ...], *, is_whole: bool = False
    ) -> list[_Fields]:
        """The envelopes, with the number of their rows, that take a host from `after` to this turn: at least one."""
        key = after, scopes, is_whole
        made = self._deltas.get(key)
        if made is None:
            *parts, last = self._parts(scopes)
            # A part does not move the position: a host that gets no more than this one gets it again.
            made = [(rows, encode.delta(after, after, fields)) for rows, fields in parts] if after else []
            if after is None:
                assert not parts, "a host that has nothing is sent scopes, not changes"
            made.append((last[0], encode.delta(after, self.position, last[1], is_whole=is_whole)))
            self._deltas[key] = made
        return made

    def _parts(self, scopes: tuple[str, ...]) -> list[_Fields]:
        parts: list[_Fields] = []
        count, length, joined = 0, 0, list[bytes]()
        for scope in scopes:
            for rows, fields in self._fields_of(scope):
                if joined and length + len(fields) > self._chunk_bytes_max:
                    parts.append((count, b"".join(joined)))
                    count, length, joined = 0, 0, []
                count += rows
                length += len(fields)
                joined.append(fields)
        parts.append((count, b"".join(joined)))
        return parts

    def _fields_of(self, scope: str) -> list[_Fields]:
        fields = self._fields.get(scope)
        if fields is None:
            fields = self._fields[scope] = list(self._encoded(self._changes.get(scope, [])))
        return fields

    def _encoded(self, changes: list[RowChange]) -> Iterator[_Fields]:
        start, length = 0, 0
        for place, change in enumerate(changes):
            row_bytes = len(change.scope) + len(change.key) + len(change.new or b"") + 12
            if length + row_bytes > self._chunk_bytes_max and place > start:
                yield place - start, encode.row_fields(changes[start:place])
                start, length = place, 0
            length += row_bytes
        if changes:
            yield len(changes) - start, encode.row_fields(changes[start:])
