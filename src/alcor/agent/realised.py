# SPDX-License-Identifier: Apache-2.0
"""Which rows of the host are realised, for its reports: plugged, all that they need complete, nothing refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from alcor.agent.derive import HeldRows, Place
from alcor.agent.session import Report
from alcor.dataplane.rows import HostFeature, Interface, Realisable, Row, RowNeed


class Realised:
    """What was reported, and what is different from it now. Decides nothing about flows."""

    def __init__(
        self,
        features: Sequence[HostFeature],
        rows: HeldRows,
        interface: Callable[[str], Interface | None],
    ) -> None:
        self._kinds: dict[type[Row], Realisable[Any]] = {
            realisable.kind: realisable for feature in features for realisable in feature.realisable
        }
        self._needs: dict[type[Row | None], list[RowNeed[Any]]] = {}
        for feature in features:
            for need in feature.needs:
                self._needs.setdefault(need.kind, []).append(need)
        self._rows = rows
        self._interface = interface
        self._needed_by: dict[
            str, dict[str, list[str]]
        ] = {}  # scope -> key of a row there -> scopes it needs
        self._carried: dict[
            str, dict[str, None]
        ] = {}  # interface -> keys of rows that are not named as it is
        self._zones: dict[Place, int] = {}  # of rows with a conntrack zone of their own
        self._reported: dict[str, Report] = {}
        self._waiting: set[str] = set()  # keys of rows that are neither realised nor known not to be
        self._failed: set[str] = set()

    @property
    def zones(self) -> Collection[int]:
        """The conntrack zones of rows that do not use their interface's."""
        return self._zones.values()

    def changed(self, places: Iterable[Place]) -> tuple[set[int], set[int]]:
        """Rows there came, changed or went. Answers of their own conntrack zones those that came, and that went."""
        came, gone = set(), set()
        for scope, key in places:
            row = self._rows.get(scope, {}).get(key)
            realisable = self._kinds.get(type(row)) if row is not None else None
            zone = realisable.zone(row) if realisable is not None else 0
            was = self._zones.pop((scope, key), 0)
            if zone:
                self._zones[scope, key] = zone
            if zone != was:
                came.add(zone)
                gone.add(was)
            iface_id = self.iface_id(scope, key)
            if iface_id is not None and iface_id != key:
                self._carried.setdefault(iface_id, {})[key] = None
            needed = self._scopes(row)
            if needed:
                self._needed_by.setdefault(scope, {})[key] = needed
            elif scope in self._needed_by:
                self._needed_by[scope].pop(key, None)
        return came - {0}, gone - came - {0}

    def reports(
        self, scope: str, touched: Iterable[str], complete: Collection[str], failures: Mapping[Place, str]
    ) -> list[Report]:
        """What is to be said of rows in `touched`, in `failures`, and that waited for something, if it is news.

        `touched` are keys of rows, and interfaces.

        `complete` are the scopes that are, as far as the switch has been told.
        """
        failed = {key for where, key in failures if where == scope}
        keys = self._waiting | self._failed | failed
        for name in touched:
            keys.add(name)
            keys |= self._still_carried(scope, name)
        self._waiting, self._failed = set(), failed
        reports = []
        for key in sorted(keys):
            row = self._rows.get(scope, {}).get(key)
            if row is None or type(row) not in self._kinds:
                self._reported.pop(key, None)
                continue
            reason = failures.get((scope, key), "")
            report = self._judge(key, row, complete, reason)
            if report is None:
                self._waiting.add(key)
            elif report != self._reported.get(key):
                self._reported[key] = report
                reports.append(report)
        return reports

    def iface_id(self, scope: str, key: str) -> str | None:
        """The interface that the row speaks of; None if it speaks of none."""
        row = self._rows.get(scope, {}).get(key)
        realisable = self._kinds.get(type(row)) if row is not None else None
        return realisable.iface_id(row) if realisable is not None else None

    def iface_ids(self, scope: str) -> set[str]:
        """The interfaces that the rows of a scope speak of."""
        rows = self._rows.get(scope, {}).values()
        return {self._kinds[type(row)].iface_id(row) for row in rows if type(row) in self._kinds}

    def lacking(self, scope: str, key: str, complete: Collection[str]) -> list[str]:
        """The scopes that the row needs and that are not complete."""
        row = self._rows.get(scope, {}).get(key)
        return sorted(set(self._needed(row)) - set(complete)) if row is not None else []

    def _still_carried(self, scope: str, iface_id: str) -> set[str]:
        """The keys of rows that speak of an interface and are not named as it is."""
        keys = {key for key in self._carried.get(iface_id, ()) if self.iface_id(scope, key) == iface_id}
        if keys:
            self._carried[iface_id] = dict.fromkeys(keys)
        else:
            self._carried.pop(iface_id, None)
        return keys

    def _judge(self, key: str, row: Row, complete: Collection[str], reason: str) -> Report | None:
        realisable = self._kinds[type(row)]
        if not reason and self._interface(realisable.iface_id(row)) is None:
            reason = "its interface is not plugged in"
        if not reason and not realisable.is_wanted(row):
            reason = "it is administratively down"
        if not reason and not all(needed in complete for needed in self._needed(row)):
            return None
        return Report(key, realisable.generation(row), not reason, reason)

    def _needed(self, row: Row) -> Iterator[str]:
        """The scopes that the row needs, and those that rows in these need."""
        seen: set[str] = set()
        todo = self._scopes(row)
        while todo:
            scope = todo.pop()
            if scope not in seen:
                seen.add(scope)
                yield scope
                for further in self._needed_by.get(scope, {}).values():
                    todo += further

    def _scopes(self, row: Row | None) -> list[str]:
        return [scope for need in self._needs.get(type(row), ()) for scope in need.scopes(row)]
