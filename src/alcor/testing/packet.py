# SPDX-License-Identifier: Apache-2.0
"""Packets as frozen values, to real bytes with right checksums and back: Ethernet, VLAN, ARP, IP, TCP, UDP, ICMP, ND.

Addresses are texts as people write them. Bytes that no type here describes stay bytes, so `parse(x).build() == x` for
every well-formed frame. It judges nothing: for what a switch makes of a malformed frame see `testing.ovs.extract`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from alcor.base.net import Ip, Mac, ip_int, ip_of, mac_int, mac_of

ETH_IPV4, ETH_ARP, ETH_IPV6, ETH_VLAN = 0x0800, 0x0806, 0x86DD, 0x8100
PROTO_ICMP, PROTO_TCP, PROTO_UDP, PROTO_FRAGMENT, PROTO_ICMPV6 = 1, 6, 17, 44, 58
ECHO_REQUEST, ECHO_REPLY, UNREACHABLE = 8, 0, 3
ECHO_REQUEST6, ECHO_REPLY6, UNREACHABLE6 = 128, 129, 1
SOLICIT, ADVERT = 135, 136
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
BROADCAST = Mac("ff:ff:ff:ff:ff:ff")
NO_MAC = Mac("00:00:00:00:00:00")
FRAME_MIN = 60  # an Ethernet frame without its checksum


@dataclass(frozen=True, slots=True)
class Arp:
    """An ARP message for IPv4 over Ethernet; operation 1 asks, 2 answers."""

    operation: int
    sender_mac: Mac
    sender_ip: Ip
    target_mac: Mac
    target_ip: Ip


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP segment."""

    src: int
    dst: int
    seq: int = 1
    ack: int = 0
    flags: int = SYN
    window: int = 65535
    options: bytes = b""  # padded to four bytes
    payload: bytes = b""
    urgent: int = 0


@dataclass(frozen=True, slots=True)
class Udp:
    """A UDP datagram."""

    src: int
    dst: int
    payload: bytes = b""
    is_unsummed: bool = False  # checksum 0: none was made (IPv4 only)


@dataclass(frozen=True, slots=True)
class Icmp:
    """An ICMP or ICMPv6 message; `rest` is the second word: echo's id and sequence, an MTU, ND's flags."""

    type: int
    code: int = 0
    rest: int = 0
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Nd:
    """A neighbour solicitation (type 135) or advertisement (136); link addresses are its options 1 and 2."""

    type: int
    target: Ip
    source_mac: Mac | None = None
    target_mac: Mac | None = None
    flags: int = 0  # the whole reserved word
    other_options: bytes = b""


Transport = Tcp | Udp | Icmp | Nd | bytes


@dataclass(frozen=True, slots=True)
class Ipv4:
    """An IPv4 datagram; if `fragment` (in 8-byte units) or `more` says that it is a fragment, its payload is bytes."""

    src: Ip
    dst: Ip
    payload: Transport = b""
    proto: int = 0  # 0: told by the payload
    ttl: int = 64
    tos: int = 0
    ident: int = 0
    flags: int = 0  # 0x2: do not fragment
    fragment: int = 0
    more: bool = False
    options: bytes = b""


@dataclass(frozen=True, slots=True)
class Ipv6:
    """An IPv6 datagram; `extensions` are raw headers before the payload, `first` names the first of them."""

    src: Ip
    dst: Ip
    payload: Transport = b""
    proto: int = 0  # 0: told by the payload
    ttl: int = 64
    traffic_class: int = 0
    label: int = 0
    extensions: bytes = b""
    first: int = -1  # type of the first extension header, -1 if there is none


_Ip = TypeVar("_Ip", Ipv4, Ipv6)


@dataclass(frozen=True, slots=True)
class Packet:
    """An Ethernet frame. `vlan` is the tag's 16-bit TCI, None if untagged; `padding` follows the payload."""

    src: Mac
    dst: Mac
    payload: Arp | Ipv4 | Ipv6 | bytes = b""
    kind: int = 0  # the Ethernet type; 0: told by the payload
    vlan: int | None = None
    padding: bytes = b""

    def build(self) -> bytes:
        """The frame's bytes, without its frame check sequence and not padded to 60 bytes."""
        tag = b"" if self.vlan is None else _u16(ETH_VLAN) + _u16(self.vlan)
        kind, body = _network_bytes(self.payload)
        return _mac(self.dst) + _mac(self.src) + tag + _u16(self.kind or kind) + body + self.padding

    def padded(self) -> Packet:
        """The packet with zeros up to the least length of an Ethernet frame."""
        return Packet.parse(self.build().ljust(FRAME_MIN, b"\0"))

    @classmethod
    def parse(cls, frame: bytes) -> Packet:
        """The packet that the frame holds. What is cut off or unknown stays bytes. Raises ValueError below 14 bytes."""
        if len(frame) < 14:
            raise ValueError(f"{len(frame)} bytes hold no Ethernet header")
        at, vlan = 12, None
        if _number(frame, 12, 2) == ETH_VLAN and len(frame) >= 18:
            at, vlan = 16, _number(frame, 14, 2)
        kind = _number(frame, at, 2)
        payload, padding = _network(kind, frame[at + 2 :])
        told = _network_bytes(payload)[0]
        src, dst = mac_of(_number(frame, 6, 6)), mac_of(_number(frame, 0, 6))
        return cls(src, dst, payload, 0 if told == kind else kind, vlan, padding)


def checksum(chunk: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    total = int.from_bytes(chunk + b"\0" * (len(chunk) & 1), "big")
    return 0xFFFF ^ (total % 0xFFFF or (0xFFFF if total else 0))


def _number(chunk: bytes, at: int, size: int) -> int:
    return int.from_bytes(chunk[at : at + size], "big")


def _u16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def _mac(mac: Mac) -> bytes:
    return mac_int(mac).to_bytes(6, "big")


def _ip(ip: Ip) -> bytes:
    return ip_int(ip).to_bytes(16 if ":" in ip else 4, "big")


def _network_bytes(payload: Arp | Ipv4 | Ipv6 | bytes) -> tuple[int, bytes]:
    match payload:
        case Arp():
            sender = _mac(payload.sender_mac) + _ip(payload.sender_ip)
            target = _mac(payload.target_mac) + _ip(payload.target_ip)
            return ETH_ARP, b"\0\x01\x08\0\x06\x04" + _u16(payload.operation) + sender + target
        case Ipv4():
            return ETH_IPV4, _ipv4_bytes(payload)
        case Ipv6():
            return ETH_IPV6, _ipv6_bytes(payload)
        case bytes():
            return 0, payload


def _ipv4_bytes(ip: Ipv4) -> bytes:
    addresses = _ip(ip.src) + _ip(ip.dst)
    proto, body = _transport_bytes(ip.payload, ip.proto, addresses)
    header_words = 5 + len(ip.options) // 4
    place = ip.flags << 13 | ip.more << 13 | ip.fragment
    start = bytes([0x40 | header_words, ip.tos]) + _u16(header_words * 4 + len(body)) + _u16(ip.ident)
    start += _u16(place) + bytes([ip.ttl, proto])
    return start + _u16(checksum(start + addresses + ip.options)) + addresses + ip.options + body


def _ipv6_bytes(ip: Ipv6) -> bytes:
    addresses = _ip(ip.src) + _ip(ip.dst)
    proto, body = _transport_bytes(ip.payload, ip.proto, addresses)
    body = ip.extensions + body
    word = 6 << 28 | ip.traffic_class << 20 | ip.label
    following = ip.first if ip.first >= 0 else proto
    return _u32(word) + _u16(len(body)) + bytes([following, ip.ttl]) + addresses + body


def _transport_bytes(payload: Transport, proto: int, addresses: bytes) -> tuple[int, bytes]:
    """The protocol and the bytes of a transport payload between these addresses."""
    if isinstance(payload, bytes):
        return proto, payload
    told, at, body = _unsummed(payload, is_ipv4=len(addresses) == 8)
    proto = proto or told
    if isinstance(payload, Udp) and payload.is_unsummed:
        return proto, body
    pseudo = b"" if proto == PROTO_ICMP else addresses + _u32(len(body)) + _u32(proto)
    summed = checksum(pseudo + body) or (0xFFFF if proto == PROTO_UDP else 0)
    return proto, body[:at] + _u16(summed) + body[at + 2 :]


def _unsummed(payload: Tcp | Udp | Icmp | Nd, is_ipv4: bool) -> tuple[int, int, bytes]:
    """The protocol, where its checksum stands, and the bytes with that left zero."""
    match payload:
        case Tcp():
            return PROTO_TCP, 16, _tcp_bytes(payload)
        case Udp():
            ports = _u16(payload.src) + _u16(payload.dst)
            return PROTO_UDP, 6, ports + _u16(8 + len(payload.payload)) + b"\0\0" + payload.payload
        case Icmp():
            start = bytes([payload.type, payload.code, 0, 0]) + _u32(payload.rest)
            return PROTO_ICMP if is_ipv4 else PROTO_ICMPV6, 2, start + payload.payload
        case Nd():
            return PROTO_ICMPV6, 2, _nd_bytes(payload)


def _tcp_bytes(tcp: Tcp) -> bytes:
    header_words = 5 + len(tcp.options) // 4
    start = _u16(tcp.src) + _u16(tcp.dst) + _u32(tcp.seq) + _u32(tcp.ack)
    flags = _u16(header_words << 12 | tcp.flags)
    return start + flags + _u16(tcp.window) + b"\0\0" + _u16(tcp.urgent) + tcp.options + tcp.payload


def _nd_bytes(nd: Nd) -> bytes:
    options = b"".join(
        bytes([number, 1]) + _mac(mac)
        for number, mac in ((1, nd.source_mac), (2, nd.target_mac))
        if mac is not None
    )
    start = bytes([nd.type, 0, 0, 0]) + _u32(nd.flags) + _ip(nd.target)
    return start + options + nd.other_options


def _network(kind: int, body: bytes) -> tuple[Arp | Ipv4 | Ipv6 | bytes, bytes]:
    """The payload of a frame and what is left over behind it."""
    if kind == ETH_ARP and len(body) >= 28 and body[:6] == b"\0\x01\x08\0\x06\x04":
        macs = mac_of(_number(body, 8, 6)), mac_of(_number(body, 18, 6))
        ips = ip_of(_number(body, 14, 4), 4), ip_of(_number(body, 24, 4), 4)
        return Arp(_number(body, 6, 2), macs[0], ips[0], macs[1], ips[1]), body[28:]
    if kind == ETH_IPV4 and len(body) >= 20:
        return _ipv4(body)
    if kind == ETH_IPV6 and len(body) >= 40:
        return _ipv6(body)
    return body, b""


def _ipv4(body: bytes) -> tuple[Ipv4 | bytes, bytes]:
    header, total = (body[0] & 15) * 4, _number(body, 2, 2)
    if header < 20 or not header <= total <= len(body) or body[0] >> 4 != 4:
        return body, b""
    place = _number(body, 6, 2)
    ip = Ipv4(
        src=ip_of(_number(body, 12, 4), 4),
        dst=ip_of(_number(body, 16, 4), 4),
        ttl=body[8],
        tos=body[1],
        ident=_number(body, 4, 2),
        flags=place >> 13 & 6,
        fragment=place & 0x1FFF,
        more=bool(place & 0x2000),
        options=body[20:header],
    )
    is_fragment = bool(place & 0x3FFF)
    return _with_payload(ip, body[9], body[header:total], is_fragment), body[total:]


def _ipv6(body: bytes) -> tuple[Ipv6 | bytes, bytes]:
    end = 40 + _number(body, 4, 2)
    if end > len(body) or body[0] >> 4 != 6:
        return body, b""
    word, proto, at, is_fragment = _number(body, 0, 4), body[6], 40, False
    while proto in (0, 43, 60, PROTO_FRAGMENT) and end - at >= 8:
        is_fragment = is_fragment or (proto == PROTO_FRAGMENT and _number(body, at + 2, 2) != 0)
        proto, at = body[at], at + (8 if proto == PROTO_FRAGMENT else (body[at + 1] + 1) * 8)
    at = min(at, end)
    ip = Ipv6(
        src=ip_of(_number(body, 8, 16), 6),
        dst=ip_of(_number(body, 24, 16), 6),
        ttl=body[7],
        traffic_class=word >> 20 & 0xFF,
        label=word & 0xFFFFF,
        extensions=body[40:at],
        first=body[6] if at > 40 else -1,
    )
    return _with_payload(ip, proto, body[at:end], is_fragment), body[end:]


def _with_payload(ip: _Ip, proto: int, body: bytes, is_fragment: bool) -> _Ip:
    """The datagram with its payload parsed, if building it again gives the same bytes: else the bytes stay."""
    payload = body if is_fragment else _transport(proto, body)
    addresses = _ip(ip.src) + _ip(ip.dst)
    if _transport_bytes(payload, 0, addresses) == (proto, body):
        return replace(ip, payload=payload)
    if _transport_bytes(payload, proto, addresses) != (proto, body):
        payload = body
    return replace(ip, payload=payload, proto=proto)


def _transport(proto: int, body: bytes) -> Transport:
    if proto == PROTO_TCP and len(body) >= 20:
        header = (body[12] >> 4) * 4
        return Tcp(
            src=_number(body, 0, 2),
            dst=_number(body, 2, 2),
            seq=_number(body, 4, 4),
            ack=_number(body, 8, 4),
            flags=_number(body, 12, 2) & 0xFFF,
            window=_number(body, 14, 2),
            options=body[20:header],
            payload=body[max(header, 20) :],
            urgent=_number(body, 18, 2),
        )
    if proto == PROTO_UDP and len(body) >= 8:
        return Udp(_number(body, 0, 2), _number(body, 2, 2), body[8:], _number(body, 6, 2) == 0)
    if proto == PROTO_ICMPV6 and len(body) >= 24 and body[0] in (SOLICIT, ADVERT) and body[1] == 0:
        return _nd(body)
    if proto in (PROTO_ICMP, PROTO_ICMPV6) and len(body) >= 8:
        return Icmp(body[0], body[1], _number(body, 4, 4), body[8:])
    return body


def _nd(body: bytes) -> Nd:
    macs: dict[int, Mac] = {}
    at = 24
    for number in (1, 2):
        if body[at : at + 2] == bytes([number, 1]) and len(body) - at >= 8:
            macs[number] = mac_of(_number(body, at + 2, 6))
            at += 8
    target = ip_of(_number(body, 8, 16), 6)
    return Nd(body[0], target, macs.get(1), macs.get(2), _number(body, 4, 4), body[at:])
