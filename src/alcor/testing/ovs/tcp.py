# SPDX-License-Identifier: Apache-2.0
"""The two ends of a tracked TCP connection: states, windows and sequence numbers, as OVS and pf judge them.

After Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter": a packet outside its window is invalid.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, auto

from alcor.testing.ovs.extract import Layout
from alcor.testing.ovs.verdict import Verdict

_FIN, _SYN, _RST, _PSH, _ACK, _URG = 1, 2, 4, 8, 16, 32
_WORD = 0xFFFFFFFF
_ACK_WINDOW_MAX = 0xFFFF + 1500  # OVS's fudge factor included
_SCALE_MAX = 14


class TcpState(IntEnum):
    """How far one end has come."""

    CLOSED = auto()
    SYN_SENT = auto()
    ESTABLISHED = auto()
    CLOSING = auto()
    FIN_WAIT_2 = auto()
    TIME_WAIT = auto()


@dataclass(slots=True)
class _End:
    state: TcpState = TcpState.CLOSED
    seq_low: int = 0
    seq_high: int = 0
    window_max: int = 0
    scale: int | None = None  # the window scale that its SYN offered
    is_scale_unknown: bool = False  # picked up mid-stream

    def see(self, segment: _Segment, end: int) -> None:
        self.window_max = max(self.window_max, segment.window)
        if _after(end, self.seq_low):
            self.seq_low = end


@dataclass(slots=True)
class _Segment:
    flags: int
    seq: int
    ack: int
    window: int
    length: int
    scale: int | None


def _segment(frame: bytes | bytearray, layout: Layout) -> _Segment:
    at = layout.l4
    header = (frame[at + 12] >> 4) * 4
    return _Segment(
        flags=int.from_bytes(frame[at + 12 : at + 14], "big") & 0xFFF,
        seq=int.from_bytes(frame[at + 4 : at + 8], "big"),
        ack=int.from_bytes(frame[at + 8 : at + 12], "big"),
        window=int.from_bytes(frame[at + 14 : at + 16], "big"),
        length=layout.end - at - header,
        scale=_scale_offered(bytes(frame[at + 20 : at + header])),
    )


def _scale_offered(options: bytes) -> int | None:
    at, scale = 0, None
    while len(options) - at >= 3 and options[at]:
        if options[at] == 1:
            at += 1
            continue
        if options[at] == 3:
            scale = min(options[at + 2], _SCALE_MAX)
        at += max(options[at + 1], 2)
    return scale


def _after(one: int, other: int) -> bool:
    return 0 < (one - other & _WORD) < 1 << 31


def _not_before(one: int, other: int) -> bool:
    return (one - other & _WORD) < 1 << 31


def _are_impossible(flags: int) -> bool:
    if flags & _SYN:
        return bool(flags & (_RST | _FIN))
    if not flags & (_ACK | _RST):
        return True
    return not flags & _ACK and bool(flags & (_FIN | _PSH | _URG))


@dataclass(slots=True, init=False)
class TcpConnection:
    """A connection from the packet that was committed first; `ends` are its sender's and the other's."""

    ends: tuple[_End, _End] = field()

    def __init__(self, frame: bytes | bytearray, layout: Layout) -> None:
        first, src, dst = _segment(frame, layout), _End(), _End()
        src.seq_low = first.seq
        src.seq_high = (
            first.seq + first.length + 1 + bool(first.flags & _SYN) + bool(first.flags & _FIN) & _WORD
        )
        if first.flags & _SYN:
            src.scale = first.scale
        else:
            src.is_scale_unknown = dst.is_scale_unknown = True
        src.window_max = -(-max(first.window, 1) // (1 << (src.scale or 0)))
        dst.seq_high = dst.window_max = 1
        src.state = TcpState.SYN_SENT
        self.ends = src, dst

    @staticmethod
    def may_start(frame: bytes | bytearray, layout: Layout) -> bool:
        """Whether a packet may open a connection: any plausible one but SYN+ACK, so that streams are picked up."""
        flags = _segment(frame, layout).flags
        return not _are_impossible(flags) and flags & (_SYN | _ACK) != _SYN | _ACK

    def update(
        self, frame: bytes | bytearray, layout: Layout, is_reply: bool
    ) -> tuple[Verdict, float | None]:
        """What the packet is to this connection, and the seconds that it may rest from now (None: as before)."""
        segment = _segment(frame, layout)
        src, dst = reversed(self.ends) if is_reply else self.ends
        if _are_impossible(segment.flags):
            return Verdict.INVALID, None
        if segment.flags & (_SYN | _ACK) == _SYN:
            if dst.state >= TcpState.FIN_WAIT_2 and src.state >= TcpState.FIN_WAIT_2:
                src.state = dst.state = TcpState.CLOSED
                return Verdict.RENEW, None
            if src.state <= TcpState.SYN_SENT:
                src.state = TcpState.SYN_SENT
                return Verdict.VALID_NEW, 30.0
        return _judge(segment, src, dst)


def _judge(segment: _Segment, src: _End, dst: _End) -> tuple[Verdict, float | None]:
    flags = segment.flags
    src_scale, dst_scale = _scales(segment, src, dst)
    seq, ack = segment.seq, segment.ack
    end = seq + segment.length + bool(flags & _SYN) + bool(flags & _FIN) & _WORD
    is_strict = True
    if src.state < TcpState.SYN_SENT:
        src_scale, dst_scale = _first_of_its_end(segment, src, dst, (src_scale, dst_scale))
        src.seq_low, src.state = seq, TcpState.SYN_SENT
        edge = end + max(1, dst.window_max << dst_scale) & _WORD
        if src.seq_high == 1 or _not_before(edge, src.seq_high):
            src.seq_high, is_strict = edge, False
        src.window_max = max(src.window_max, segment.window)
    if not flags & _ACK or (ack == 0 and flags & (_ACK | _RST) == _ACK | _RST):
        ack = dst.seq_low
    if seq == end:
        seq = end = src.seq_low
    skew = _signed(dst.seq_low - ack) if is_strict else 0
    window = segment.window << src_scale
    is_inside = (
        _not_before(src.seq_high, end)
        and _not_before(seq, src.seq_low - (dst.window_max << dst_scale) & _WORD)
        and -_ACK_WINDOW_MAX <= skew <= _ACK_WINDOW_MAX << src_scale
        and (
            not flags & _RST or segment.seq in (src.seq_low, src.seq_low + 1 & _WORD, src.seq_low - 1 & _WORD)
        )
    )
    if is_inside:
        _slide(segment, src, dst, (end, ack, window))
        _advance(flags, src, dst)
        return Verdict.VALID, _rests_s(src.state, dst.state)
    is_loose = dst.state < TcpState.SYN_SENT or max(src.state, dst.state) >= TcpState.FIN_WAIT_2
    near = _not_before(src.seq_high + _ACK_WINDOW_MAX & _WORD, end)
    if not (is_loose and near and _not_before(seq, src.seq_low - _ACK_WINDOW_MAX & _WORD)):
        return Verdict.INVALID, None
    _slide(segment, src, dst, (end, ack, window))
    if flags & _FIN and src.state < TcpState.CLOSING:
        src.state = TcpState.CLOSING
    if flags & _RST:
        src.state = dst.state = TcpState.TIME_WAIT
    return Verdict.VALID, None


def _scales(segment: _Segment, src: _End, dst: _End) -> tuple[int, int]:
    if segment.flags & _SYN:
        return 0, 0
    if src.scale is not None and dst.scale is not None:
        return src.scale, dst.scale
    return (_SCALE_MAX, _SCALE_MAX) if src.is_scale_unknown and dst.is_scale_unknown else (0, 0)


def _first_of_its_end(segment: _Segment, src: _End, dst: _End, scales: tuple[int, int]) -> tuple[int, int]:
    """The scales after the first packet of an end; its SYN may agree to the other's scaling, or undo it."""
    if not segment.flags & _SYN or dst.scale is None:
        return scales
    src.scale, src.is_scale_unknown = segment.scale, False
    if src.scale is not None:
        segment.window = -(-segment.window // (1 << src.scale))
        return src.scale, dst.scale
    dst.window_max = dst.window_max << dst.scale & 0xFFFF
    dst.scale = None
    return scales


def _slide(segment: _Segment, src: _End, dst: _End, place: tuple[int, int, int]) -> None:
    end, ack, window = place
    src.see(segment, end)
    if _not_before(ack + window & _WORD, dst.seq_high):
        dst.seq_high = ack + max(window, 1) & _WORD


def _advance(flags: int, src: _End, dst: _End) -> None:
    if flags & _FIN and src.state < TcpState.CLOSING:
        src.state = TcpState.CLOSING
    if flags & _ACK:
        if dst.state == TcpState.SYN_SENT:
            dst.state = TcpState.ESTABLISHED
        elif dst.state == TcpState.CLOSING:
            dst.state = TcpState.FIN_WAIT_2
    if flags & _RST:
        src.state = dst.state = TcpState.TIME_WAIT


def _rests_s(one: TcpState, other: TcpState) -> float:
    low, high = min(one, other), max(one, other)
    if low >= TcpState.FIN_WAIT_2:
        return 30.0
    if low >= TcpState.CLOSING:
        return 45.0
    if low < TcpState.ESTABLISHED:
        return 30.0
    return 900.0 if high >= TcpState.CLOSING else 86400.0


def _signed(number: int) -> int:
    number &= _WORD
    return number - (1 << 32) if number >> 31 else number
