# SPDX-License-Identifier: Apache-2.0
"""Connection tracking as OVS's userspace datapath does it: zones, states, marks, timeouts; no NAT and no helpers.

A connection is known by its original tuple and zone, and found by it or its reverse. What a packet learns of its
connection is its `Tracked` metadata. TCP sequence checks are in `testing.ovs.tcp`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from alcor.base.clock import Clock
from alcor.dataplane.values import CT_EST, CT_INV, CT_NEW, CT_REL, CT_RPL, CT_TRK
from alcor.testing.ovs.extract import Layout
from alcor.testing.ovs.tcp import TcpConnection
from alcor.testing.ovs.tuples import End, Tuple, tuple_of
from alcor.testing.ovs.verdict import Verdict

_FIRST_S = 60.0
_ICMP_REPLIED_S = 30.0
_OPENERS = {1: (8, 13, 15), 58: (128,)}  # ICMP types that may start a connection, by protocol
_OTHER_S = {"first": 60.0, "multiple": 60.0, "both": 30.0}


class OriginalTuple(NamedTuple):
    """A connection as its first packet showed it, for ct_nw_src and its like; ICMP's ports are type and code."""

    version: int
    proto: int
    src: int
    dst: int
    tp_src: int
    tp_dst: int


@dataclass(slots=True, eq=False)
class Connection:
    """One tracked connection; `key` is in its original direction."""

    key: Tuple
    zone: int
    tcp: TcpConnection | None = None
    phase: str = "first"  # other protocols: first, multiple (one side only), both
    mark: int = 0
    expires_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Tracked:
    """What a packet carries about its connection from one ct action to the next."""

    state: int = 0
    zone: int = 0
    mark: int = 0
    original: OriginalTuple | None = None
    connection: Connection | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class CtRequest:
    """One ct action, its zone resolved. `mark` is (value, mask) for a committed connection."""

    zone: int
    commit: bool = False
    mark: tuple[int, int] | None = None


class Conntrack:
    """The connection table of a datapath."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._by_tuple: dict[tuple[int, Tuple], Connection] = {}

    def flush(self, zone: int | None = None) -> None:
        """Forget the connections of the zone, or all."""
        for key, connection in list(self._by_tuple.items()):
            if zone is None or connection.zone == zone:
                del self._by_tuple[key]

    def connections(self, zone: int | None = None) -> list[Connection]:
        """The live connections, each once."""
        now_s = self._clock.monotonic_s()
        unique = {id(each): each for each in self._by_tuple.values() if each.expires_s > now_s}
        return [each for each in unique.values() if zone is None or each.zone == zone]

    def track(self, frame: bytes | bytearray, layout: Layout, before: Tracked, request: CtRequest) -> Tracked:
        """What the packet knows after this ct action."""
        connection = before.connection
        if connection is not None and connection.zone == request.zone and not _is_control(frame, layout):
            after = replace(before, zone=request.zone, mark=connection.mark)
        else:
            after = self._look_up(frame, layout, before, request)
        if request.mark is not None and after.connection is not None:
            value, mask = request.mark
            after = replace(after, mark=value | after.mark & ~mask)
            assert after.connection is not None
            after.connection.mark = after.mark
        return after

    def _look_up(
        self, frame: bytes | bytearray, layout: Layout, before: Tracked, request: CtRequest
    ) -> Tracked:
        found = tuple_of(frame, layout)
        if found is None:
            return Tracked(CT_INV | CT_TRK, request.zone)
        key, is_related = found
        state = before.state if before.zone == request.zone else 0
        connection, is_reply = self._find(request.zone, key)
        verdict = Verdict.NONE
        if connection is not None:
            if is_related:
                state |= CT_REL | (CT_RPL if is_reply else 0)
            else:
                verdict = self._update(connection, frame, layout, is_reply)
                state = _judged(state, verdict, is_reply)
        elif is_related:
            state = CT_INV
        if verdict is Verdict.RENEW:
            assert connection is not None
            connection.expires_s = 0.0
        if verdict is Verdict.RENEW or (connection is None and not is_related):
            state, created = self._new(frame, layout, request, key)
            connection = created
        original = _original(connection.key if connection else key)
        mark = connection.mark if connection else 0
        return Tracked(state | CT_TRK, request.zone, mark, original, connection)

    def _find(self, zone: int, key: Tuple) -> tuple[Connection | None, bool]:
        connection = self._by_tuple.get((zone, key))
        if connection is None or connection.expires_s <= self._clock.monotonic_s():
            return None, False
        return connection, connection.key != key

    def _update(
        self, connection: Connection, frame: bytes | bytearray, layout: Layout, is_reply: bool
    ) -> Verdict:
        now_s = self._clock.monotonic_s()
        if connection.tcp is not None:
            verdict, lasts_s = connection.tcp.update(frame, layout, is_reply)
            if lasts_s is not None:
                connection.expires_s = now_s + lasts_s
            return verdict
        if connection.key.proto in (1, 58):
            connection.phase = "both" if is_reply else connection.phase
            connection.expires_s = now_s + (_FIRST_S if connection.phase == "first" else _ICMP_REPLIED_S)
            return Verdict.VALID if connection.phase == "both" else Verdict.VALID_NEW
        if is_reply:
            connection.phase = "both"
        elif connection.phase == "first":
            connection.phase = "multiple"
        connection.expires_s = now_s + _OTHER_S[connection.phase]
        return Verdict.VALID if connection.phase == "both" else Verdict.VALID_NEW

    def _new(
        self, frame: bytes | bytearray, layout: Layout, request: CtRequest, key: Tuple
    ) -> tuple[int, Connection | None]:
        is_tcp = key.proto == 6
        if is_tcp and not TcpConnection.may_start(frame, layout):
            return CT_INV, None
        if key.proto in (1, 58) and frame[layout.l4] not in _OPENERS[key.proto]:
            return CT_INV, None
        if not request.commit:
            return CT_NEW, None
        connection = Connection(key, request.zone, TcpConnection(frame, layout) if is_tcp else None)
        connection.expires_s = self._clock.monotonic_s() + (30.0 if is_tcp else _FIRST_S)
        self._by_tuple[request.zone, key.reversed()] = connection
        self._by_tuple[request.zone, key] = connection
        return CT_NEW, connection


def _judged(state: int, verdict: Verdict, is_reply: bool) -> int:
    match verdict:
        case Verdict.VALID:
            return (state | CT_EST | (CT_RPL if is_reply else 0)) & ~CT_NEW
        case Verdict.VALID_NEW:
            return state | CT_NEW
        case Verdict.INVALID:
            return CT_INV
        case Verdict.RENEW | Verdict.NONE:
            return state


def _original(key: Tuple) -> OriginalTuple:
    is_icmp = key.proto == (1 if key.version == 4 else 58)
    tp_src, tp_dst = (key.src.kind, key.src.code) if is_icmp else (key.src.port, key.dst.port)
    return OriginalTuple(key.version, key.proto, key.src.address, key.dst.address, tp_src, tp_dst)


def _is_control(frame: bytes | bytearray, layout: Layout) -> bool:
    """Whether OVS treats the packet as FTP or TFTP control, which never takes its short cut."""
    ports = frame[layout.l4 : layout.l4 + 2], frame[layout.l4 + 2 : layout.l4 + 4]
    if layout.proto == 17:
        return ports[1] == b"\0\x45"
    return layout.proto == 6 and b"\0\x15" in ports


__all__ = ["Connection", "Conntrack", "CtRequest", "End", "OriginalTuple", "Tracked", "Tuple"]
