# SPDX-License-Identifier: Apache-2.0
"""What everybody who reads the state may ask: rules inside a turn, answers, and goal outside of one."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from alcor.store.declare import Index, Key, Pool, Stored, Table

T = TypeVar("T", bound=Stored)


class Reader(Protocol):
    """Reads of exact current state. No call waits."""

    def get(self, table: Table[T], id: str) -> T:
        """The object. Raises the table's NotFound."""

    def peek(self, table: Table[T], id: str) -> T | None:
        """The object, or None."""

    def find(self, table: Table[T], index: Index[T], key: Key) -> Sequence[T]:
        """The objects under `key`, in order of id."""

    def first(self, table: Table[T], index: Index[T], key: Key) -> T | None:
        """Some object under `key` (the only one, where the index is unique), or None."""

    def count(self, table: Table[T], index: Index[T], key: Key) -> int:
        """How many objects stand under `key`, in O(1)."""

    def is_held(self, pool: Pool[T], key: Key, number: int) -> bool:
        """Whether an object holds this number of the pool."""

    def lowest_free(self, pool: Pool[T], key: Key, bounds: tuple[int, int], start: int) -> int | None:
        """The lowest number within `bounds` that no object holds and that is not below `start`, or None."""

    def scan(self, table: Table[T]) -> Iterator[T]:
        """All objects, in no particular order: O(table), so never inside a turn."""


class Txn(Reader, Protocol):
    """A request's view of the state inside a turn: what is read is exact, what is written is seen by later reads."""

    def insert(self, table: Table[T], new: T) -> None:
        """Adds an object. Raises what unique indexes, pools, references and guards refuse."""

    def update(self, table: Table[T], new: T) -> None:
        """Replaces the object with `new.id`. Raises the table's NotFound, or as `insert`."""

    def delete(self, table: Table[T], id: str) -> None:
        """Removes the object. Raises the table's NotFound, a reference's `in_use`, or a guard's veto."""

    def allocate(self, pool: Pool[T], key: Key, ranges: Sequence[tuple[int, int]]) -> int | None:
        """The lowest-water free number within `ranges` (inclusive bounds), or None if all are held.

        It is held once an object that holds it is written in this transaction; two calls without a write between may
        not answer the same number.
        """
