# SPDX-License-Identifier: Apache-2.0
"""IP fragments on their way through conntrack: held until the datagram is whole, judged as one, let go together.

As OVS's `ipf` does it, but for two things: fragments that wait too long are forgotten here, where OVS lets them follow
some later packet as invalid; and there is no bound on how many wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from alcor.base.clock import Clock
from alcor.testing.ovs.extract import FRAGMENT, Layout
from alcor.testing.ovs.flight import InFlight
from alcor.testing.ovs.rewrite import ones_sum

BYTES_MIN = {4: 1200, 6: 1280}  # of the IP datagram, by version, of any fragment but the last
WAIT_S = 15.0


class _Piece(NamedTuple):
    """A fragment: which datagram it is of, and its bytes `start` to `end` (exclusive)."""

    key: tuple[object, ...]
    start: int
    end: int
    is_last: bool


@dataclass(slots=True)
class _Waiting:
    until_s: float
    pieces: list[tuple[_Piece, InFlight]] = field(default_factory=list)

    def is_whole(self) -> bool:
        ordered = [piece for piece, _ in self.pieces]
        joined = all(one.end == other.start for one, other in pairwise(ordered))
        return joined and ordered[0].start == 0 and ordered[-1].is_last


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram made whole, and the fragments that it came in, in order."""

    whole: InFlight
    fragments: list[InFlight]


class Fragments:
    """What waits, by zone and by where in the pipeline."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[tuple[object, ...], _Waiting] = {}

    @property
    def waiting(self) -> int:
        """Datagrams of which some fragments wait."""
        now_s = self._clock.monotonic_s()
        return sum(each.until_s >= now_s for each in self._waiting.values())

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def offer(self, packet: InFlight, zone: int, place: object) -> Datagram | bool:
        """A whole datagram if the packet completes it; True if it must wait; False if it is not for us."""
        piece = _piece(packet.frame, packet.layout)
        if piece is None:
            return False
        now_s = self._clock.monotonic_s()
        key = (zone, place, *piece.key)
        waiting = self._waiting.get(key)
        if waiting is None or waiting.until_s < now_s:
            waiting = self._waiting[key] = _Waiting(now_s + WAIT_S)
        if any(piece.start < other.end and other.start < piece.end for other, _ in waiting.pieces):
            return False
        waiting.pieces.append((piece, packet.copy()))
        waiting.pieces.sort(key=lambda each: each[0].start)
        if not waiting.is_whole():
            return True
        del self._waiting[key]
        fragments = [fragment for _, fragment in waiting.pieces]
        return Datagram(_joined(fragments), fragments)


def _piece(frame: bytearray, layout: Layout) -> _Piece | None:
    """What the packet is a piece of; None if it is none, or one that OVS calls invalid."""
    at, size = layout.l3, layout.end - layout.l3
    if layout.l4 < 0:
        return None
    if frame[at - 2 : at] == b"\x08\0":
        place = int.from_bytes(frame[at + 6 : at + 8], "big")
        if not place & 0x3FFF or ones_sum(frame[at : layout.l4]) != 0xFFFF:
            return None
        start, is_last, version = (place & 0x1FFF) * 8, not place & 0x2000, 4
        key = (bytes(frame[at + 12 : at + 20]), bytes(frame[at + 4 : at + 6]), frame[at + 9])
    else:
        header = _fragment_header(frame, layout)
        place = int.from_bytes(frame[header + 2 : header + 4], "big") if header else 0
        if not place:
            return None
        start, is_last, version = place & 0xFFF8, not place & 1, 6
        key = (bytes(frame[at + 8 : at + 40]), bytes(frame[header + 4 : header + 8]), 0)
    if not is_last and size < BYTES_MIN[version]:
        return None
    return _Piece(key, start, start + layout.end - layout.l4, is_last)


def _fragment_header(frame: bytearray, layout: Layout) -> int:
    """Where the IPv6 fragment header stands; 0 if there is none."""
    at, proto = layout.l3 + 40, frame[layout.l3 + 6]
    while at < layout.l4 and proto != FRAGMENT:
        proto, at = frame[at], at + (frame[at + 1] + 1) * 8
    return at if at < layout.l4 else 0


def _joined(fragments: list[InFlight]) -> InFlight:
    first = fragments[0]
    whole = first.copy()
    del whole.frame[whole.layout.end :]
    for fragment in fragments[1:]:
        whole.frame += fragment.frame[fragment.layout.l4 : fragment.layout.end]
    whole.layout.end = len(whole.frame)
    frame, at = whole.frame, whole.layout.l3
    if frame[at - 2 : at] == b"\x08\0":
        frame[at + 2 : at + 4] = (len(frame) - at).to_bytes(2, "big")
        frame[at + 6] &= ~0x20 & 0xFF
        frame[at + 10 : at + 12] = b"\0\0"
        frame[at + 10 : at + 12] = (ones_sum(frame[at : whole.layout.l4]) ^ 0xFFFF).to_bytes(2, "big")
    else:
        # The fragment header stays, and nothing points to it: conntrack knows where the payload is.
        frame[at + 6] = whole.layout.proto
    return whole
