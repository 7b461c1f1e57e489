# SPDX-License-Identifier: Apache-2.0
"""Packets to bytes and back: known frames, right checksums, and nothing lost of any frame."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alcor.base.net import Ip, Mac
from alcor.testing.packet import (
    ACK,
    ADVERT,
    FRAME_MIN,
    SOLICIT,
    SYN,
    Arp,
    Icmp,
    Ipv4,
    Ipv6,
    Nd,
    Packet,
    Tcp,
    Udp,
    checksum,
)

A, B = Mac("fa:16:3e:00:00:01"), Mac("fa:16:3e:00:00:02")
IP_A, IP_B = Ip("10.0.0.1"), Ip("10.0.0.2")
V6_A, V6_B = Ip("fd00::1"), Ip("fd00::2")
PAYLOADS = [
    Arp(1, A, IP_A, Mac("00:00:00:00:00:00"), IP_B),
    Ipv4(IP_A, IP_B, Tcp(1000, 80, 7, 9, ACK, options=b"\x02\x04\x05\xb4", payload=b"hello")),
    Ipv4(IP_A, IP_B, Udp(53, 5353, b"odd"), ttl=3, tos=4, ident=9, flags=2),
    Ipv4(IP_A, IP_B, Udp(53, 5353, b"odd", is_unsummed=True)),
    Ipv4(IP_A, IP_B, Icmp(8, rest=1 << 16 | 2, payload=b"ping"), options=b"\x01\x01\x01\x00"),
    Ipv4(IP_A, IP_B, b"fragment", proto=17, fragment=5, more=True),
    Ipv4(IP_A, IP_B, b"gre", proto=47),
    Ipv6(V6_A, V6_B, Tcp(1, 2, flags=SYN), traffic_class=8, label=77),
    Ipv6(V6_A, V6_B, Udp(1, 2, b"x")),
    Ipv6(V6_A, V6_B, Icmp(128, rest=5, payload=b"ping6")),
    Ipv6(V6_A, V6_B, Nd(SOLICIT, V6_B, source_mac=A), ttl=255),
    Ipv6(V6_A, V6_B, Nd(ADVERT, V6_A, target_mac=A, flags=0x60000000, other_options=b"\x05\x01" + bytes(6))),
    Ipv6(V6_A, V6_B, Udp(1, 2, b"x"), extensions=bytes([17, 0, 1, 4, 0, 0, 0, 0]), first=0),
    b"\x01\x02\x03",
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: type(payload).__name__)
@pytest.mark.parametrize("vlan", [None, 0x6005])
def test_what_is_built_is_parsed_back(payload: Arp | Ipv4 | Ipv6 | bytes, vlan: int | None) -> None:
    packet = Packet(A, B, payload, 0x88CC if isinstance(payload, bytes) else 0, vlan, b"padding")
    parsed = Packet.parse(packet.build())
    assert parsed.build() == packet.build()
    if isinstance(payload, bytes):
        assert parsed.payload == payload + b"padding"
    else:
        assert parsed == packet


def test_a_header_of_another_maker_is_read_and_built_alike() -> None:
    """The worked example of Wikipedia's article on the IPv4 header checksum."""
    header = bytes.fromhex("450000730000400040 11b861c0a80001c0a800c7")
    frame = bytes(12) + b"\x08\0" + header + bytes(95)
    packet = Packet.parse(frame)
    assert packet.payload == Ipv4(Ip("192.168.0.1"), Ip("192.168.0.199"), bytes(95), proto=17, flags=2)
    assert packet.build() == frame


@pytest.mark.parametrize("payload", [each for each in PAYLOADS if isinstance(each, Ipv4)])
def test_ipv4_checksums_are_right(payload: Ipv4) -> None:
    frame = Packet(A, B, payload).build()
    header = (frame[14] & 15) * 4
    assert checksum(frame[14 : 14 + header]) == 0
    body = frame[14 + header :]
    if isinstance(payload.payload, Tcp) or (
        isinstance(payload.payload, Udp) and not payload.payload.is_unsummed
    ):
        pseudo = frame[26:34] + struct.pack(">HH", frame[23], len(body))
        assert checksum(pseudo + body) == 0
    elif isinstance(payload.payload, Icmp):
        assert checksum(body) == 0


@pytest.mark.parametrize(
    "payload", [each for each in PAYLOADS if isinstance(each, Ipv6) and not each.extensions]
)
def test_ipv6_checksums_are_right(payload: Ipv6) -> None:
    frame = Packet(A, B, payload).build()
    pseudo = frame[22:54] + struct.pack(">II", len(frame) - 54, frame[20])
    assert checksum(pseudo + frame[54:]) == 0


def test_a_udp_checksum_that_comes_to_zero_is_sent_as_ones() -> None:
    base = Packet.parse(Packet(A, B, Ipv4(IP_A, IP_B, Udp(1, 2, b"\0\0"))).build()).build()
    missing = 0xFFFF ^ struct.unpack(">H", base[40:42])[0]
    payload = struct.pack(">H", 0xFFFF ^ missing)
    assert Packet(A, B, Ipv4(IP_A, IP_B, Udp(1, 2, payload))).build()[40:42] == b"\xff\xff"


def test_a_short_frame_is_padded_and_the_padding_is_not_payload() -> None:
    packet = Packet(A, B, Ipv4(IP_A, IP_B, Udp(1, 2, b"x"))).padded()
    assert len(packet.build()) == FRAME_MIN
    assert isinstance(packet.payload, Ipv4)
    assert packet.payload.payload == Udp(1, 2, b"x")


def test_a_damaged_checksum_survives() -> None:
    frame = bytearray(Packet(A, B, Ipv4(IP_A, IP_B, Udp(1, 2, b"hello"))).build())
    frame[41] ^= 1
    parsed = Packet.parse(bytes(frame))
    assert isinstance(parsed.payload, Ipv4)
    assert isinstance(parsed.payload.payload, bytes)
    assert parsed.build() == bytes(frame)


def test_less_than_an_ethernet_header_is_no_packet() -> None:
    with pytest.raises(ValueError, match="13 bytes"):
        Packet.parse(bytes(13))


def test_addresses_are_texts_as_people_write_them() -> None:
    packet = Packet.parse(Packet(A, B, Ipv6(V6_A, V6_B, Udp(1, 2))).build())
    assert (packet.src, packet.dst) == (A, B)
    assert isinstance(packet.payload, Ipv6)
    assert packet.payload.src == V6_A
    assert socket.inet_pton(socket.AF_INET6, V6_A) in packet.build()


@given(st.binary(min_size=14, max_size=120))
def test_any_bytes_survive(frame: bytes) -> None:
    parsed = Packet.parse(frame)
    rebuilt = parsed.build()
    assert len(rebuilt) == len(frame)
    assert rebuilt[:14] == frame[:14]


@given(st.sampled_from(PAYLOADS), st.integers(0, 200), st.integers(0, 255))
def test_a_frame_with_one_byte_changed_is_parsed(
    payload: Arp | Ipv4 | Ipv6 | bytes, place: int, value: int
) -> None:
    frame = bytearray(Packet(A, B, payload, 0x88CC if isinstance(payload, bytes) else 0).build())
    frame[place % len(frame)] = value
    Packet.parse(bytes(frame)).build()
