# SPDX-License-Identifier: Apache-2.0
"""Which derivations read which objects, so that a change of one finds its readers."""

from collections.abc import Iterator

_FEW = 4  # readers kept in a tuple; more are kept in a set

_Ids = tuple[str, ...] | set[str]


class Readers:
    """The reverse index of reads. A reader is a derivation, by its number, of one object, by its id."""

    def __init__(self) -> None:
        self.count = 0
        self._by_table: dict[str, dict[int, dict[str, _Ids]]] = {}

    def add(self, table: str, id: str, derivation: int, reader: str) -> None:
        """Notes that `derivation` of the object `reader` read the object `id` of `table`."""
        self.count += 1
        by_id = self._by_table.setdefault(table, {}).setdefault(derivation, {})
        readers = by_id.get(id, ())
        if isinstance(readers, set):
            readers.add(reader)
        elif reader not in readers:
            by_id[id] = (*readers, reader) if len(readers) < _FEW else {*readers, reader}

    def remove(self, table: str, id: str, derivation: int, reader: str) -> None:
        """Forgets a noted read."""
        self.count -= 1
        by_id = self._by_table[table][derivation]
        readers = by_id[id]
        left: _Ids
        if isinstance(readers, set):
            readers.discard(reader)
            left = readers if len(readers) > _FEW // 2 else tuple(readers)
        else:
            left = tuple(other for other in readers if other != reader)
        if left:
            by_id[id] = left
        else:
            del by_id[id]

    def of(self, table: str, id: str) -> Iterator[tuple[int, str]]:
        """Who read the object, as (derivation, reader), in a reproducible order."""
        for derivation, by_id in self._by_table.get(table, {}).items():
            for reader in sorted(by_id.get(id, ())):
                yield derivation, reader
