# SPDX-License-Identifier: Apache-2.0
"""The connection tuple of a packet, or of the packet inside an ICMP error; None where conntrack calls it invalid."""

from __future__ import annotations

from typing import NamedTuple

from alcor.testing.ovs.extract import Layout, skip_extensions
from alcor.testing.ovs.rewrite import ones_sum

_ECHO = {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15}
_ECHO6 = {128: 129, 129: 128}
_ERRORS, _ERRORS6 = (3, 4, 5, 11, 12), (1, 2, 3, 4)


class End(NamedTuple):
    """One end of a connection; `port` holds the ICMP id, `kind` and `code` the ICMP type and code."""

    address: int
    port: int = 0
    kind: int = 0
    code: int = 0


class Tuple(NamedTuple):
    """A connection as one of its packets shows it."""

    version: int
    proto: int
    src: End
    dst: End

    def reversed(self) -> Tuple:
        """As a packet of the other direction shows it."""
        return Tuple(self.version, self.proto, self.dst, self.src)


class _Datagram(NamedTuple):
    """An IP header that was read: where its payload is and who talks."""

    version: int
    proto: int
    src: int
    dst: int
    at: int
    end: int


def tuple_of(frame: bytes | bytearray, layout: Layout) -> tuple[Tuple, bool] | None:
    """The tuple of the connection that the packet belongs to, and whether it is an error related to it."""
    if layout.l4 < 0:
        return None
    version = 4 if frame[layout.l3 - 2 : layout.l3] == b"\x08\0" else 6
    datagram = _datagram(version, frame, layout.l3, layout.end)
    if datagram is None or not _is_sound(frame, layout, datagram):
        return None
    datagram = datagram._replace(at=layout.l4)
    error = _error_payload(frame, datagram)
    if error is None:
        ends = _ends(frame, datagram, 8)
        return (Tuple(datagram.version, datagram.proto, *ends), False) if ends else None
    inner = _datagram(version, frame, error, layout.end)
    if inner is None or inner.src != datagram.dst:
        return None
    if _error_payload(frame, inner) is not None:
        return None
    ends = _ends(frame, inner, 8 if inner.version == 4 else None)
    return (Tuple(inner.version, inner.proto, *ends).reversed(), True) if ends else None


def _datagram(version: int, frame: bytes | bytearray, at: int, end: int) -> _Datagram | None:
    """The IP header at `at`; None if it is cut off or belongs to a fragment."""
    if end - at < 20:
        return None
    if version == 4:
        header = (frame[at] & 15) * 4
        is_fragment = int.from_bytes(frame[at + 6 : at + 8], "big") & 0x3FFF
        if header < 20 or end - at < header or is_fragment:
            return None
        src, dst = (
            int.from_bytes(frame[at + 12 : at + 16], "big"),
            int.from_bytes(frame[at + 16 : at + 20], "big"),
        )
        return _Datagram(4, frame[at + 9], src, dst, at + header, end)
    if end - at < 40:
        return None
    behind = skip_extensions(frame, at + 40, end, frame[at + 6])
    if behind is None or behind[2]:
        return None
    src, dst = int.from_bytes(frame[at + 8 : at + 24], "big"), int.from_bytes(frame[at + 24 : at + 40], "big")
    return _Datagram(6, behind[1], src, dst, behind[0], end)


def _is_sound(frame: bytes | bytearray, layout: Layout, datagram: _Datagram) -> bool:
    """Whether checksums and lengths of the packet itself hold."""
    at, size = layout.l4, layout.end - layout.l4
    is_ipv4 = datagram.version == 4
    if is_ipv4 and ones_sum(frame[layout.l3 : at]) != 0xFFFF:
        return False
    match datagram.proto:
        case 6:
            is_whole = size >= 20 and 20 <= (frame[at + 12] >> 4) * 4 <= size
            return is_whole and _checksum_holds(frame, layout, 6)
        case 17:
            is_whole = size >= 8 and 8 <= int.from_bytes(frame[at + 4 : at + 6], "big") <= size
            is_unsummed = is_ipv4 and frame[at + 6 : at + 8] == b"\0\0"
            return is_whole and (is_unsummed or _checksum_holds(frame, layout, 17))
        case 1 if is_ipv4:
            return ones_sum(frame[at : layout.end]) == 0xFFFF
        case 58 if not is_ipv4:
            return _checksum_holds(frame, layout, 58)
    return True


def _checksum_holds(frame: bytes | bytearray, layout: Layout, proto: int) -> bool:
    size = layout.end - layout.l4
    start, length = (12, 8) if frame[layout.l3 - 2 : layout.l3] == b"\x08\0" else (8, 32)
    addresses = bytes(frame[layout.l3 + start : layout.l3 + start + length])
    pseudo = addresses + size.to_bytes(4, "big") + proto.to_bytes(4, "big")
    return ones_sum(pseudo + bytes(frame[layout.l4 : layout.end])) == 0xFFFF


def _error_payload(frame: bytes | bytearray, datagram: _Datagram) -> int | None:
    """Where the datagram that an ICMP error quotes starts; None if the packet is no such error."""
    if datagram.end - datagram.at < 8:
        return None
    kind = frame[datagram.at]
    if (datagram.version, datagram.proto) == (4, 1) and kind in _ERRORS:
        return datagram.at + 8
    if (datagram.version, datagram.proto) == (6, 58) and kind in _ERRORS6:
        return datagram.at + 8
    return None


def _ends(frame: bytes | bytearray, datagram: _Datagram, size_min: int | None) -> tuple[End, End] | None:
    """The two ends; `size_min` bytes of the transport header must be there, None for the whole header."""
    at, size, proto = datagram.at, datagram.end - datagram.at, datagram.proto
    if proto in (6, 17):
        if size < (size_min or {6: 20, 17: 8}[proto]):
            return None
        src, dst = int.from_bytes(frame[at : at + 2], "big"), int.from_bytes(frame[at + 2 : at + 4], "big")
        return (End(datagram.src, src), End(datagram.dst, dst)) if src and dst else None
    if (datagram.version, proto) not in ((4, 1), (6, 58)):
        return End(datagram.src), End(datagram.dst)
    reverse = _ECHO if datagram.version == 4 else _ECHO6
    if size < 8 or frame[at] not in reverse or frame[at + 1]:
        return None
    number = int.from_bytes(frame[at + 4 : at + 6], "big")
    return End(datagram.src, number, frame[at]), End(datagram.dst, number, reverse[frame[at]])
