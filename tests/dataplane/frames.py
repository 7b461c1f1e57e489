# SPDX-License-Identifier: Apache-2.0
"""Frames for tests, each byte of them, with right checksums."""

import socket
import struct
from dataclasses import dataclass


def checksum(raw: bytes) -> int:
    """The Internet checksum (RFC 1071); 0 over bytes that carry a right one."""
    raw += b"\0" * (len(raw) % 2)
    total = sum(struct.unpack(f"!{len(raw) // 2}H", raw))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac(last: int) -> bytes:
    """02:00:00:00:00:NN."""
    return bytes((2, 0, 0, 0, 0, last))


def packed(address: str) -> bytes:
    """An address's 4 or 16 bytes."""
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def number(address: str) -> int:
    """An address as an unsigned integer."""
    return int.from_bytes(packed(address), "big")


@dataclass(frozen=True)
class Path:
    """From whom to whom: last byte of the MACs, and the addresses."""

    source: str
    target: str
    source_mac: int = 1
    target_mac: int = 2

    def back(self) -> "Path":
        """The other way."""
        return Path(self.target, self.source, self.target_mac, self.source_mac)

    @property
    def is_ipv6(self) -> bool:
        """Which family."""
        return ":" in self.source


def ip(
    path: Path, protocol: int, payload: bytes, *, fragment: int = 0, ident: int = 1, ttl: int = 64
) -> bytes:
    """A frame. `fragment` is the header's 16 bits of flags and offset (IPv4 only)."""
    head = mac(path.target_mac) + mac(path.source_mac)
    source, target = packed(path.source), packed(path.target)
    if path.is_ipv6:
        packet = struct.pack("!IHBB", 6 << 28, len(payload), protocol, ttl) + source + target
        return head + b"\x86\xdd" + packet + payload
    packet = (
        struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), ident, fragment, ttl, protocol, 0)
        + source
        + target
    )
    return head + b"\x08\x00" + packet[:10] + struct.pack("!H", checksum(packet)) + packet[12:] + payload


def pseudo_header(path: Path, protocol: int, length: int) -> bytes:
    """What TCP, UDP and ICMPv6 checksums also cover."""
    tail = (
        struct.pack("!IHBB", length, 0, 0, protocol)
        if path.is_ipv6
        else struct.pack("!BBH", 0, protocol, length)
    )
    return packed(path.source) + packed(path.target) + tail


def tcp_segment(path: Path, ports: tuple[int, int], flags: int, content: bytes = b"") -> bytes:
    """Without the IP header. Sequence numbers suit a connection whose both sides begin at 1."""
    sequence = (1, 0) if flags == SYN else (1, 2) if flags == SYN | ACK else (2, 2)
    raw = struct.pack("!HHIIBBHHH", *ports, *sequence, 0x50, flags, 8192, 0, 0) + content
    value = checksum(pseudo_header(path, 6, len(raw)) + raw)
    return raw[:16] + struct.pack("!H", value) + raw[18:]


def udp_datagram(path: Path, ports: tuple[int, int], content: bytes = b"content of a datagram") -> bytes:
    """Without the IP header."""
    raw = struct.pack("!HHHH", *ports, 8 + len(content), 0) + content
    value = checksum(pseudo_header(path, 17, len(raw)) + raw) or 0xFFFF
    return raw[:6] + struct.pack("!H", value) + raw[8:]


SYN, ACK = 0x02, 0x10


def tcp(path: Path, ports: tuple[int, int], flags: int = SYN) -> bytes:
    """A TCP frame."""
    return ip(path, 6, tcp_segment(path, ports, flags))


def udp(path: Path, ports: tuple[int, int]) -> bytes:
    """A UDP frame."""
    return ip(path, 17, udp_datagram(path, ports))


def icmp(path: Path, kind: int, code: int = 0, rest: bytes = b"\0\7\0\1 echo", ttl: int = 64) -> bytes:
    """An ICMP or ICMPv6 frame, by the path's family."""
    raw = struct.pack("!BBH", kind, code, 0) + rest
    covered = pseudo_header(path, 58, len(raw)) + raw if path.is_ipv6 else raw
    raw = raw[:2] + struct.pack("!H", checksum(covered)) + raw[4:]
    return ip(path, 58 if path.is_ipv6 else 1, raw, ttl=ttl)


def arp(path: Path, operation: int = 1) -> bytes:
    """An ARP request (to all) or reply."""
    target = bytes(6) if operation == 1 else mac(path.target_mac)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    body += mac(path.source_mac) + packed(path.source) + target + packed(path.target)
    return (b"\xff" * 6 if operation == 1 else target) + mac(path.source_mac) + b"\x08\x06" + body


def solicitation(path: Path, wanted: str) -> bytes:
    """A neighbour solicitation with the sender's MAC as its option."""
    option = b"\x01\x01" + mac(path.source_mac)
    return icmp(path, 135, 0, bytes(4) + packed(wanted) + option, ttl=255)
