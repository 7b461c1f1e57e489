# SPDX-License-Identifier: Apache-2.0
"""Fields that one feature keeps with the objects of another's noun: read, answered and written.

A row is kept only while it differs from the defaults, so who does not use a feature pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from alcor.resource.attribute import Attribute, attributes_of
from alcor.resource.context import Asked
from alcor.resource.declare import Extends, Written
from alcor.store.declare import Stored, Table, own_id
from alcor.store.plan import reader_of
from alcor.store.reader import Reader, Txn

T = TypeVar("T", bound=Stored)


@dataclass(frozen=True)
class Part(Generic[T]):
    """The fields of one addition in one view."""

    table: str
    names: tuple[str, ...]  # on the wire
    row: Callable[[Reader, T], Stored | None]  # None: all are the default
    read: Callable[[Any], tuple[Any, ...]]  # of a row, as answered
    default: tuple[Any, ...] | None  # as answered; None where it depends on the object

    def values(self, reader: Reader, stored: T) -> tuple[Any, ...]:
        """The fields as they are answered."""
        row = self.row(reader, stored)
        if row is not None:
            return self.read(row)
        assert self.default is not None, "where defaults depend on the object a row is always made"
        return self.default


class Addition(Generic[T]):
    """The fields that one feature adds to a noun."""

    def __init__(self, extends: Extends) -> None:
        assert extends.table is not None
        table: Table[Any] = extends.table
        assert any(one.keys is own_id and one.in_use is None for one in table.references), (
            f"rows of {table.name} do not go with their {extends.noun}"
        )
        self.extends = extends
        self.table = table
        self.attributes = tuple(one for one in attributes_of(table.kind) if one.field != "id")
        self.fields = frozenset(one.field for one in self.attributes)
        self.is_always = extends.when == "always" and extends.on_write is not None
        self._plain = table.kind(id="")

    def row(self, reader: Reader, stored: T) -> Stored:
        """The fields of this object, as kept or by default."""
        row: Stored | None = reader.peek(self.table, stored.id)
        return row if row is not None else self._default(reader, stored)

    def part(self, attributes: Sequence[Attribute]) -> Part[T]:
        """These of its fields made ready to be answered."""
        read = reader_of(tuple(one.field for one in attributes))
        turns = [one.api.answer for one in attributes]

        def answered(row: Stored) -> tuple[Any, ...]:
            return tuple(turn(value) if turn else value for turn, value in zip(turns, read(row), strict=True))

        of_row = answered if any(turns) else read
        table, is_fixed = self.table, self.extends.default is None
        return Part(
            table=table.name,
            names=tuple(one.name for one in attributes),
            row=(lambda reader, stored: reader.peek(table, stored.id)) if is_fixed else self.row,
            read=of_row,
            default=of_row(self._plain) if is_fixed else None,
        )

    def write(self, txn: Txn, asked: Asked, change: tuple[T, T | None], added: Mapping[str, Any]) -> None:
        """Keeps those of the `added` fields that are its own with the object: (as it is, as it was)."""
        stored, before = change
        old: Stored | None = txn.peek(self.table, stored.id)
        default = self._default(txn, stored)
        new = default if old is None else old
        if own := {field: added[field] for field in self.fields if field in added} if added else None:
            new = msgspec.structs.replace(new, **own)
        if self.extends.on_write is not None:
            new = self.extends.on_write(txn, asked, Written(stored, before, old, new))
        if new == default:
            if old is not None:
                txn.delete(self.table, stored.id)
        elif old is None:
            txn.insert(self.table, new)
        else:
            txn.update(self.table, new)

    def _default(self, reader: Reader, stored: T) -> Stored:
        if self.extends.default is not None:
            made: Stored = self.extends.default(reader, stored)
            return made
        plain: Stored = msgspec.structs.replace(self._plain, id=stored.id)
        return plain
