# SPDX-License-Identifier: Apache-2.0
"""A schema made ready: per table its decoder, its indexes (reverse ones included), who references and who guards it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import msgspec

from alcor.store.declare import Field, Guard, Index, Key, Pool, Reference, Schema, Stored, Table, own_id

V = TypeVar("V")

encode = msgspec.msgpack.Encoder().encode


class Referrer(NamedTuple):
    """A reference as its target sees it: `reverse` has the referring objects by the target's id."""

    reference: Reference[Any]
    table: Table[Any]
    reverse: Index[Any]


Place = tuple[Index[Any], Key]  # in an index, where an object stands
Holding = tuple[Pool[Any], Key, int]  # a number of a pool under one of its keys


@dataclass(frozen=True, eq=False, slots=True)
class TablePlan:
    """All that a write to one table must look at."""

    table: Table[Any]
    name: str
    decode: Callable[[bytes], Any]
    known: frozenset[str]  # the stored names of the fields that this process knows
    indexes: tuple[Index[Any], ...]
    fields: tuple[
        tuple[Index[Any], bool], ...
    ]  # those of `indexes` by a `Field`, and whether it skips what is empty
    read_fields: Callable[[Any], tuple[Any, ...]]  # the keys of an object in all of these
    others: tuple[tuple[Index[Any], Callable[[Any], Any]], ...]  # the rest of `indexes`, and their keys
    is_looked_into: (
        bool  # by a load: its objects stand in indexes of which the rows say nothing, or hold numbers
    )
    checked: dict[
        Index[Any], tuple[Reference[Any], ...]
    ]  # of which something may refuse a new key: it is taken, or names nothing
    referrers: tuple[Referrer, ...]
    guards: tuple[Guard[Any], ...]

    def keys(self, stored: Stored) -> list[Place]:
        """Where the object stands in the indexes, each place once."""
        found: list[Place] = [
            (index, key)
            for (index, skip_empty), key in zip(self.fields, self.read_fields(stored), strict=True)
            if key or not skip_empty
        ]
        for index, read in self.others:
            keys = read(stored)
            for key in keys if type(keys) is tuple and len(keys) < 2 else distinct(keys):
                found.append((index, key))  # noqa: PERF401 - (a comprehension is a call) one key, usually
        return found

    def held(self, stored: Stored) -> list[Holding]:
        """Which numbers of the pools the object holds."""
        pools = self.table.pools
        return [(pool, *each) for pool in pools for each in distinct(pool.holds(stored))] if pools else []

    def encode(self, new: Stored, old: Stored | None, old_row: bytes | None) -> bytes:
        """`new` as it is stored: with the fields of `old_row` that this process does not know."""
        row = encode(new)
        # A row that decodes and encodes to itself holds nothing unknown: the usual case costs one encoding.
        if old_row is None or encode(old) == old_row:
            return row
        unknown = {name: value for name, value in _unpack(old_row).items() if name not in self.known}
        return encode(_unpack(row) | unknown) if unknown else row


def reader_of(fields: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """Reads several fields at once."""
    if len(fields) > 1:
        return attrgetter(*fields)
    return lambda stored: tuple(getattr(stored, field) for field in fields)


_unpack = msgspec.msgpack.Decoder(dict[str, Any]).decode


def distinct(keys: Any) -> tuple[Any, ...]:
    """The keys, each once."""
    found = keys if type(keys) is tuple else tuple(keys)
    return found if len(found) < 2 else tuple(dict.fromkeys(found))


def plans_of(schema: Schema) -> dict[str, TablePlan]:
    """The plans by table name. Asserts that the schema is whole and free of contradictions."""
    tables = schema.tables
    assert len({table.name for table in tables}) == len(tables), "two tables have one name"
    by_reference = {
        reference: reference.by or Index(f"by reference {reference.name}", reference.keys)
        for table in tables
        for reference in table.references
    }
    return {table.name: _plan(table, schema, by_reference) for table in tables}


def _plan(table: Table[Any], schema: Schema, by_reference: dict[Reference[Any], Index[Any]]) -> TablePlan:
    references: dict[Index[Any], tuple[Reference[Any], ...]] = {}
    for reference in table.references:
        assert reference.target in schema.tables, f"{table.name} references a table that the schema lacks"
        assert reference.by is None or reference.by in table.indexes, (
            f"{reference.name}: by another table's index"
        )
        index = by_reference[reference]
        references[index] = (*references.get(index, ()), reference)
    for index in table.indexes:
        assert not index.unique or index.taken, f"unique index {index.name} of {table.name} has no refusal"
    reverse = [index for index in references if index not in table.indexes]
    indexes = (*table.indexes, *reverse)
    by_field = [(index, index.keys) for index in indexes if isinstance(index.keys, Field)]
    return TablePlan(
        table=table,
        name=table.name,
        decode=msgspec.msgpack.Decoder(table.kind).decode,
        known=frozenset(field.encode_name for field in msgspec.structs.fields(table.kind)),
        indexes=indexes,
        fields=tuple((index, keys.skip_empty) for index, keys in by_field),
        read_fields=reader_of(tuple(keys.name for _, keys in by_field)),
        others=tuple((index, index.keys) for index in indexes if not isinstance(index.keys, Field)),
        is_looked_into=bool(table.pools) or any(index.keys is not own_id for index in indexes),
        checked={
            index: references.get(index, ()) for index in indexes if index.unique or index in references
        },
        referrers=_referrers(table, schema.tables, by_reference),
        guards=tuple(guard for guard in schema.guards if guard.table is table),
    )


def _referrers(
    table: Table[Any], tables: Sequence[Table[Any]], by_reference: dict[Reference[Any], Index[Any]]
) -> tuple[Referrer, ...]:
    return tuple(
        Referrer(reference, other, by_reference[reference])
        for other in tables
        for reference in other.references
        if reference.target is table
    )


class Write:
    """One insert, update or delete as worked out once, for checks and for the overlay."""

    __slots__ = ("entered", "freed", "held", "id", "left", "new", "old", "plan")

    def __init__(self, plan: TablePlan, old: Stored | None, new: Stored | None) -> None:
        self.plan = plan
        self.old = old
        self.new = new
        self.id = old.id if old is not None else new.id if new is not None else ""
        self.left: list[Place] = []
        self.freed: list[Holding] = []
        if old is None and new is not None:
            self.entered, self.held = plan.keys(new), plan.held(new)
        else:
            self.left, self.entered = _changed(plan.keys, old, new)
            self.freed, self.held = _changed(plan.held, old, new)

    def reversed(self) -> Write:
        """The write that takes this one back."""
        back = Write.__new__(Write)
        back.plan, back.id, back.old, back.new = self.plan, self.id, self.new, self.old
        back.left, back.entered = self.entered, self.left
        back.freed, back.held = self.held, self.freed
        return back


def _changed(
    read: Callable[[Stored], list[V]], old: Stored | None, new: Stored | None
) -> tuple[list[V], list[V]]:
    """What is read of the old object alone, and of the new one alone."""
    if old is None:
        return [], [] if new is None else read(new)
    before = read(old)
    if new is None:
        return before, []
    after = read(new)
    if before == after:
        return [], []
    was, will_be = set(before), set(after)
    return [each for each in before if each not in will_be], [each for each in after if each not in was]
