# SPDX-License-Identifier: Apache-2.0
"""What a host knows: rows in scopes, and how a feature says which flows follow from them.

A feature's `flows.py` declares its row types and pure functions over a `HostView`; it imports nothing but
`base` and `dataplane`. Who holds the rows, records what was read and talks to the switch is `agent`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from alcor.base.net import Ip, Mac
from alcor.dataplane.values import Flow


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="kind"):
    """The base of every row type; each sets `tag="..."`, its kind on the wire.

    Rows travel as MessagePack maps. Every field added later needs a default; unknown fields are ignored.
    """


R = TypeVar("R", bound=Row)
V = TypeVar("V", int, str)


@dataclass(frozen=True, slots=True)
class Interface:
    """A local OVS interface that carries `external_ids:iface-id`."""

    iface_id: str
    name: str
    ofport: int
    is_heard: bool = (
        True  # false: it has claimed too much of late, and the switch tells nothing of it for a while
    )
    other_config: tuple[tuple[str, str], ...] = ()  # how Open vSwitch is to treat it, in order


class Claim(NamedTuple):
    """A port was seen to say that an address is its, with this MAC; `key` is of the port's row in `host:H`."""

    key: str
    address: Ip
    mac: Mac


def encode_claim(claim: Claim) -> bytes:
    """The claim as a flow tells it to the agent."""
    return msgspec.msgpack.encode(claim)


def decode_claim(told: bytes) -> Claim | None:
    """What a flow told, or None where it is no claim."""
    try:
        return msgspec.msgpack.decode(told, type=Claim)
    except msgspec.MsgspecError:
        return None


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the agent was started with, or read from the bridge. A change derives everything again."""

    host: str
    tunnel_ip: str
    tunnel_ofport: int
    uplinks: tuple[tuple[str, int], ...] = ()  # (physical network, port that leads there; 0: not there)


@dataclass(frozen=True, eq=False)
class RowIndex(Generic[R, V]):
    """Finds values by what the rows of a kind say, in all scopes: `entries(scope, key, row)` gives (place, value).

    Several rows may give the same value at one place: it is found once, and stays until the last of them is gone.
    """

    kind: type[R]
    entries: Callable[[str, str, R], Iterable[tuple[Hashable, V]]]


class HostView(Protocol):
    """The host's world, as a flow function sees it. Every read is recorded; a change of what was read derives again."""

    @property
    def facts(self) -> HostFacts:
        """Constants of this host."""

    def row(self, kind: type[R], scope: str, key: str) -> R | None:
        """The row, or None: a missing row means deny."""

    def rows(self, kind: type[R], scope: str) -> Sequence[R]:
        """All rows of a kind in a scope, in order of key. Recorded as a read of (scope, kind)."""

    def local(self, kind: type[R]) -> Sequence[R]:
        """All rows of a kind in this host's own scope `host:H`."""

    def find(self, index: RowIndex[R, V], place: Hashable) -> Sequence[V]:
        """The values at a place of an index, in order. Recorded: another set of values there derives again."""

    def interface(self, iface_id: str) -> Interface | None:
        """The plugged interface, or None."""


@dataclass(frozen=True)
class FlowRule(Generic[R]):
    """Each row of `kind` stands for the flows that `derive` gives, wherever the row is.

    Flows of several rows may share an identity only if all their actions are `Conjunction`: the agent merges them.
    `scope` of the row is passed, so that a function can read the scope's other rows.
    """

    kind: type[R]
    derive: Callable[[HostView, str, R], Iterable[Flow]]


@dataclass(frozen=True)
class RowNeed(Generic[R]):
    """A row of `kind` means nothing before these scopes are complete on the host; push sends them for its sake."""

    kind: type[R]
    scopes: Callable[[R], Iterable[str]]


@dataclass(frozen=True)
class Realisable(Generic[R]):
    """Rows of `kind` in `host:H` whose realisation the agent reports as (key, generation).

    A row is realised when its interface is plugged, every scope that it needs is complete, and the barrier after its
    flows was answered.
    `is_wanted` false (admin down) means: flows are applied, but never reported as realised.
    """

    kind: type[R]
    iface_id: Callable[[R], str]
    generation: Callable[[R], int]
    is_wanted: Callable[[R], bool]
    zone: Callable[[R], int] = lambda row: 0  # of conntrack, if it is not its interface's


@dataclass(frozen=True)
class Setting(Generic[R]):
    """Rows of `kind` in `host:H` say what the `other_config` of an interface is to be, in `keys` and no others.

    A key that no row gives a value for is taken away.
    """

    kind: type[R]
    keys: tuple[str, ...]
    iface_id: Callable[[R], str]
    values: Callable[[R], Mapping[str, str]]


@dataclass(frozen=True)
class HostFeature:
    """What one feature brings to hosts. `static` flows stand whatever the rows are."""

    name: str
    rows: tuple[type[Row], ...]
    rules: tuple[FlowRule[Any], ...] = ()
    indexes: tuple[RowIndex[Any, Any], ...] = ()
    needs: tuple[RowNeed[Any], ...] = ()
    realisable: tuple[Realisable[Any], ...] = ()
    settings: tuple[Setting[Any], ...] = ()
    static: Callable[[HostFacts], Iterable[Flow]] | None = None
