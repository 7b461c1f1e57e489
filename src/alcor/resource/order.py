# SPDX-License-Identifier: Apache-2.0
"""The order of a sorted list, as a key that one comparison decides.

Null sorts before every value, as in Neutron. Ids decide between equals, in the direction of the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from alcor.resource.shape import Shape
from alcor.store.declare import Stored
from alcor.store.reader import Reader

T = TypeVar("T", bound=Stored)


@dataclass(frozen=True)
class Order(Generic[T]):
    """Sort by `key`, backwards if `is_reverse`. A key is flat and ends with the id: millions of them cost little."""

    key: Callable[[T], tuple[Any, ...]]
    is_reverse: bool

    def is_beyond(self, key: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
        """Whether `key` comes later in the list than `other`."""
        return key < other if self.is_reverse else key > other


def order_of(
    shape: Shape[T], sorts: Sequence[tuple[str, bool]], reader: Reader, *, is_flipped: bool
) -> Order[T]:
    """The order of these sort keys (wire name, whether descending); flipped for a page that is read backwards."""
    is_reverse = all(is_descending for _, is_descending in sorts)
    reads = [(_read(shape, name, reader), is_descending != is_reverse) for name, is_descending in sorts]

    def key(stored: T) -> tuple[Any, ...]:
        parts: list[Any] = []
        for read, is_opposite in reads:
            value = read(stored)
            if is_opposite:
                parts.append(_Opposite((value is not None, value)))
            else:
                parts += (value is not None, value)
        return (*parts, stored.id)

    return Order(key, is_reverse != is_flipped)


def _read(shape: Shape[T], name: str, reader: Reader) -> Callable[[T], Any]:
    attribute = shape.by_name.get(name)
    if attribute is not None:
        return shape.read(attribute, reader, "")
    value = shape.computed_by_name[name].value
    return lambda stored: value(reader, stored)


class _Opposite:
    """A part of a key that goes against the direction of the list."""

    __slots__ = ("_part",)

    def __init__(self, part: tuple[bool, Any]) -> None:
        self._part = part

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Opposite) and self._part == other._part

    def __hash__(self) -> int:
        return hash(self._part)

    def __lt__(self, other: _Opposite) -> bool:
        return other._part < self._part

    def __gt__(self, other: _Opposite) -> bool:
        return other._part > self._part
