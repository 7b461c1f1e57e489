# SPDX-License-Identifier: Apache-2.0
"""What a host says that it has when it is asked: as JSON inside `Inspected`, and a part of what `alcor show` answers.

docs/show.md describes every field. Fields are only ever added, each with a default.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Generic, TypeVar

import msgspec

BYTES_MAX = 1 << 20  # of one answer
LISTED_MAX = (
    1_000,
    100,
    10,
    0,
)  # entries of each list; the first of these with which an answer is not too long

T = TypeVar("T")


class Listed(msgspec.Struct, Generic[T], frozen=True):
    """The first of a list, and how many there are."""

    count: int = 0
    first: tuple[T, ...] = ()

    @classmethod
    def of(cls, every: Iterable[T], most: int) -> "Listed[T]":
        """All of them counted, at most `most` kept."""
        kept = tuple(every)
        return cls(len(kept), kept[:most])

    def cut(self, most: int) -> "Listed[T]":
        """The same with fewer kept."""
        return Listed(self.count, tuple(islice(self.first, most)))


class ScopeHeld(msgspec.Struct, frozen=True, kw_only=True):
    """A scope as the host holds it."""

    scope: str
    rows: int
    digest: str = ""  # in hexadecimal; empty: it was not received whole


class RowFault(msgspec.Struct, frozen=True, kw_only=True):
    """A row that does not work on the host."""

    scope: str
    key: str
    reason: str


class InterfaceHeld(msgspec.Struct, frozen=True, kw_only=True):
    """An interface that is plugged in."""

    iface_id: str
    name: str
    ofport: int
    is_bound: bool = True  # whether its port is this host's; one that is not carries nothing


class FlowDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A flow that is not in the switch as it is wanted."""

    state: str  # missing, refused, altered, stale, foreign
    wanted: str = ""  # as text; empty: it is not wanted
    held: str = ""  # as text; empty: the switch has it not
    reason: str = ""  # why the switch refused it
    rows: tuple[
        tuple[str, str], ...
    ] = ()  # (scope, key) of those for whose sake it is wanted; none: the pipeline's


class FlowsHeld(msgspec.Struct, frozen=True, kw_only=True):
    """The switch, read just now, compared with what is wanted of it."""

    wanted: int
    held: int
    missing: int = 0
    refused: int = 0
    altered: int = 0
    stale: int = 0  # of ours, wanted no more
    foreign: int = 0  # somebody else's
    difference: Listed[FlowDifference] = Listed()

    @property
    def differing(self) -> int:
        """How many flows are other than wanted."""
        return self.missing + self.refused + self.altered + self.stale + self.foreign


class RowHash(msgspec.Struct, frozen=True, kw_only=True):
    """A row as the host holds it."""

    scope: str
    hash: str  # in hexadecimal


class ReportHeld(msgspec.Struct, frozen=True, kw_only=True):
    """What the host has last reported of a row of its own."""

    generation: int
    is_realised: bool
    reason: str = ""


class FlowOfRow(msgspec.Struct, frozen=True, kw_only=True):
    """A flow that a row stands for."""

    scope: str
    flow: str
    state: str  # in the switch, missing, refused, altered; empty: the switch could not be read
    held: str = ""  # what the switch has in its place
    reason: str = ""  # why the switch refused it


class RowHeld(msgspec.Struct, frozen=True, kw_only=True):
    """All that the host knows of one row."""

    key: str
    places: tuple[RowHash, ...] = ()  # the scopes that have it
    report: ReportHeld | None = None
    waits_for: tuple[str, ...] = ()  # scopes that it needs and that are not complete
    interface: InterfaceHeld | None = None
    flows: Listed[FlowOfRow] = Listed()


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What a host says that it has."""

    revision: int | None = None  # where it stands in the log; none: it has nothing
    is_whole: bool = False  # it has received everything that it needs since it started
    is_busy: bool = (
        False  # changes were on their way into the switch meanwhile: the difference may be of those
    )
    keeps_inherited: bool = False  # flows of a former agent stay until it is whole
    scopes: Listed[ScopeHeld] = Listed()
    faults: Listed[RowFault] = Listed()
    interfaces: Listed[InterfaceHeld] = Listed()
    flows: FlowsHeld | None = None
    why_no_flows: str = ""  # why the switch was not read
    row: RowHeld | None = None  # that was asked for

    def cut(self, most: int) -> "Held":
        """The same with at most `most` entries in each list; scopes are what the others are understood by, and stay."""
        replace = msgspec.structs.replace
        flows, row = self.flows, self.row
        return replace(
            self,
            scopes=self.scopes if most else self.scopes.cut(0),
            faults=self.faults.cut(most),
            interfaces=self.interfaces.cut(most),
            flows=flows and replace(flows, difference=flows.difference.cut(most)),
            row=row and replace(row, flows=row.flows.cut(most)),
        )


def encoded(held: Held) -> bytes:
    """The answer as it travels, never longer than BYTES_MAX as long as the names in it are sensible."""
    json = b""
    for most in LISTED_MAX:
        json = msgspec.json.encode(held.cut(most))
        if len(json) <= BYTES_MAX:
            break
    return json
