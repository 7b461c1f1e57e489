# SPDX-License-Identifier: Apache-2.0
"""Random frames from a small world, so that random flows meet them: single ones, and both sides of conversations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

from alcor.base.net import Ip, Mac
from alcor.testing.fake_switch import Tunnel
from alcor.testing.packet import (
    ACK,
    ADVERT,
    BROADCAST,
    FIN,
    PSH,
    RST,
    SOLICIT,
    SYN,
    Arp,
    Icmp,
    Ipv4,
    Ipv6,
    Nd,
    Packet,
    Tcp,
    Transport,
    Udp,
)
from tests.contract.real_switch import LOCAL_IP, PORTS, TUNNEL_PORT

MACS = (*(Mac(f"00:00:00:00:00:0{digit}") for digit in (1, 2, 3)), BROADCAST)
IPS4 = tuple(Ip(text) for text in ("10.0.0.1", "10.0.0.2", "10.0.1.1", "192.0.2.9"))
IPS6 = tuple(Ip(text) for text in ("fd00::1", "fd00::2", "fd00:0:0:1::1", "fe80::5"))
TP_PORTS = (53, 80, 81, 443, 5000, 5001)
PEERS = (0x0A630002, 0x0A630003)
TAGS = (0x1, 0x2, 0x6003, 0x2002)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A frame that comes in by a port, `after_s` seconds after the one before."""

    port: int
    frame: bytes
    tunnel: Tunnel = field(default_factory=Tunnel)
    after_s: float = 0.0


def arrivals(rng: Random, count: int) -> list[Arrival]:
    """Conversations, interleaved, with single frames between them."""
    talks = [_conversation(rng) for _ in range(rng.randint(1, 3))]
    if is_train := rng.random() < 0.25:
        talks = [talks[0], _train(rng)]
    result = []
    while len(result) < count:
        frame = next(rng.choice(talks), None) if rng.random() < 0.6 else None
        place = _place(rng)
        result.append(replace(place, frame=frame or _single(rng), after_s=0.0 if is_train else _pause(rng)))
    return result


def _pause(rng: Random) -> float:
    return rng.choice((1.0, 29.0, 31.0, 46.0, 61.0, 901.0)) if rng.random() < 0.06 else 0.0


def _place(rng: Random) -> Arrival:
    if rng.random() < 0.75:
        return Arrival(rng.choice(PORTS), b"")
    option = rng.choice((None, 0, 1, 2, 0x10003))
    return Arrival(
        TUNNEL_PORT, b"", Tunnel(rng.choice((0, 1, 2, 0x10001)), rng.choice(PEERS), LOCAL_IP, option)
    )


def _single(rng: Random) -> bytes:
    """A frame of any kind; now and then damaged."""
    packet = rng.choice((_arp, _arp, _nd, _nd, _ip, _ip, _ip, _fragment, _extended, _strange))(rng)
    if rng.random() < 0.25:
        packet = replace(packet, vlan=rng.choice(TAGS))
    if rng.random() < 0.15:
        packet = replace(packet, padding=rng.randbytes(rng.randint(1, 20)))
    frame = packet.build()
    if rng.random() < 0.04:
        return frame[: rng.randint(14, len(frame))]
    if rng.random() < 0.04:
        place = rng.randrange(14, len(frame)) if len(frame) > 14 else 0
        return frame[:place] + bytes([rng.randrange(256)]) + frame[place + 1 :]
    return frame


def _ether(rng: Random, payload: Arp | Ipv4 | Ipv6 | bytes, kind: int = 0) -> Packet:
    return Packet(rng.choice(MACS[:3]), rng.choice(MACS), payload, kind)


def _arp(rng: Random) -> Packet:
    ends = [(rng.choice(MACS[:3]), rng.choice(IPS4)) for _ in range(2)]
    operation = rng.choice((1, 2, 1, 2, 3, 0x101))
    kind = 0x8035 if rng.random() < 0.1 else 0
    return replace(_ether(rng, Arp(operation, *ends[0], *ends[1])), kind=kind)


def _nd(rng: Random) -> Packet:
    kind = rng.choice((SOLICIT, ADVERT))
    source = rng.choice((None, *MACS[:3])) if kind == SOLICIT or rng.random() < 0.2 else None
    target = rng.choice((None, *MACS[:3])) if kind == ADVERT or rng.random() < 0.2 else None
    other = b"\x05\x01" + bytes(6) if rng.random() < 0.2 else b""
    nd = Nd(kind, rng.choice(IPS6), source, target, rng.choice((0, 0x60000000, 0xE0000000)), other)
    return _ether(rng, Ipv6(rng.choice(IPS6), rng.choice(IPS6), nd, ttl=255))


def _ip(rng: Random) -> Packet:
    payload = _transport(rng)
    proto = 0 if not isinstance(payload, bytes) else rng.choice((47, 50, 132, 2))
    return _ether(rng, _datagram(rng, payload, rng.random() < 0.5, proto))


def _datagram(rng: Random, payload: Transport, is_ipv4: bool, proto: int = 0) -> Ipv4 | Ipv6:
    ttl = rng.choice((64, 1, 255))
    if is_ipv4:
        options = b"\x01\x01\x01\x00" if rng.random() < 0.1 else b""
        flags = rng.choice((0, 2))
        return Ipv4(rng.choice(IPS4), rng.choice(IPS4), payload, proto, ttl, flags=flags, options=options)
    return Ipv6(rng.choice(IPS6), rng.choice(IPS6), payload, proto, ttl, traffic_class=rng.choice((0, 8)))


def _transport(rng: Random) -> Transport:
    src, dst = rng.choice(TP_PORTS), rng.choice(TP_PORTS)
    word = rng.randbytes(rng.choice((0, 4, 9)))
    match rng.randrange(6):
        case 0 | 1:
            flags = rng.choice((SYN, SYN | ACK, ACK, ACK | PSH, ACK | FIN, RST, SYN | FIN, 0))
            return Tcp(src, dst, rng.choice((1, 1000, 0xFFFFFFF0)), rng.choice((0, 1)), flags, payload=word)
        case 2 | 3:
            return Udp(src, dst, word, is_unsummed=rng.random() < 0.1)
        case 4:
            return Icmp(
                rng.choice((8, 0, 13, 3, 11, 128, 129, 1, 133, 143)), rng.choice((0, 0, 1)), 7 << 16, word
            )
        case _:
            return word


def _fragment(rng: Random) -> Packet:
    body = rng.randbytes(rng.choice((8, 32)))
    place, more = rng.choice(((0, True), (4, True), (4, False)))
    proto = rng.choice((1, 6, 17, 47, 58))
    if rng.random() < 0.5:
        ends = rng.choice(IPS4), rng.choice(IPS4)
        return _ether(rng, Ipv4(*ends, body, proto, fragment=place, more=more, ident=rng.randrange(4)))
    header = bytes([proto, 0]) + (place << 3 | more).to_bytes(2, "big") + bytes(3) + bytes([rng.randrange(4)])
    return _ether(rng, Ipv6(rng.choice(IPS6), rng.choice(IPS6), body, proto, extensions=header, first=44))


def _train(rng: Random) -> Iterator[bytes]:
    """Datagrams in fragments large enough for OVS to put together; some of them reordered, repeated or lost."""
    while True:
        is_ipv4, payload, pieces = rng.random() < 0.6, rng.randbytes(rng.choice((1500, 2600, 3200))), []
        packet = _ether(rng, _datagram(rng, _large(rng, payload), is_ipv4))
        frame, header = packet.build(), 34 if is_ipv4 else 54
        if is_ipv4 and isinstance(packet.payload, Ipv4):
            header += len(packet.payload.options)
        proto, body, size, number = frame[23 if is_ipv4 else 20], frame[header:], 1304, rng.getrandbits(16)
        for at in range(0, len(body), size):
            piece, more = body[at : at + size], at + size < len(body)
            pieces.append(
                replace(packet, payload=_piece(packet.payload, piece, (proto, at // 8, more, number))).build()
            )
        if rng.random() < 0.3:
            rng.shuffle(pieces)
        if rng.random() < 0.15:
            pieces.append(rng.choice(pieces))
        if rng.random() < 0.15:
            pieces.pop()
        yield from pieces


def _large(rng: Random, payload: bytes) -> Transport:
    ports = rng.choice(TP_PORTS), rng.choice(TP_PORTS)
    return rng.choice(
        (
            Udp(*ports, payload),
            Tcp(*ports, flags=ACK, payload=payload),
            Icmp(rng.choice((8, 128)), payload=payload),
        )
    )


def _piece(ip: object, piece: bytes, place: tuple[int, int, bool, int]) -> Ipv4 | Ipv6:
    proto, offset, more, number = place
    if isinstance(ip, Ipv4):
        return replace(ip, payload=piece, proto=proto, fragment=offset, more=more, ident=number, flags=0)
    assert isinstance(ip, Ipv6)
    header = bytes([proto, 0]) + (offset << 3 | more).to_bytes(2, "big") + number.to_bytes(4, "big")
    return replace(ip, payload=piece, proto=proto, extensions=header, first=44)


def _extended(rng: Random) -> Packet:
    """IPv6 with an extension header: hop-by-hop, destination options, routing, or an atomic fragment's."""
    payload = _transport(rng)
    proto = 59 if isinstance(payload, bytes) else {Tcp: 6, Udp: 17}.get(type(payload), 58)
    first = rng.choice((0, 60, 43, 44))
    header = bytes([proto, 0, 0, rng.choice((0, 1)) if first == 43 else 0, 1, 2, 0, 0])
    ip = Ipv6(rng.choice(IPS6), rng.choice(IPS6), payload, proto if proto == 59 else 0)
    return _ether(rng, replace(ip, extensions=header, first=first))


def _strange(rng: Random) -> Packet:
    kind = rng.choice((0x88CC, 0x0026, 0x8100, 0x88A8, 0x0800, 0x86DD))
    return _ether(rng, rng.randbytes(rng.choice((4, 20, 46))), kind)


def _conversation(rng: Random) -> Iterator[bytes]:
    """The frames of one connection, both ways, and errors about it."""
    is_ipv4 = rng.random() < 0.6
    one, other = rng.sample(IPS4 if is_ipv4 else IPS6, 2)
    macs = rng.sample(MACS[:3], 2)
    talk = rng.choice((_tcp_talk, _tcp_talk, _udp_talk, _echo_talk))(rng, is_ipv4)
    last: tuple[Ipv4 | Ipv6, bool] | None = None
    for payload, is_reply in talk:
        ends = (other, one) if is_reply else (one, other)
        ip: Ipv4 | Ipv6 = Ipv4(*ends, payload) if is_ipv4 else Ipv6(*ends, payload)
        if last is not None and rng.random() < 0.15:
            yield _ethernet(_error(rng, *last), macs)
        yield _ethernet(ip, macs[::-1] if is_reply else macs)
        last = ip, is_reply


def _ethernet(ip: Ipv4 | Ipv6, macs: list[Mac]) -> bytes:
    return Packet(macs[0], macs[1], ip).build()


def _error(rng: Random, about: Ipv4 | Ipv6, _is_reply: bool) -> Ipv4 | Ipv6:
    quoted = Packet(MACS[0], MACS[0], about).build()[14:]
    quoted = quoted[: rng.choice((28, 48, 60, 68, 200))]
    if isinstance(about, Ipv4):
        return Ipv4(
            rng.choice((about.dst, IPS4[3])),
            about.src,
            Icmp(rng.choice((3, 11, 5)), rng.choice((0, 3)), 0, quoted),
        )
    return Ipv6(
        rng.choice((about.dst, IPS6[3])),
        about.src,
        Icmp(rng.choice((1, 2, 3)), rng.choice((0, 4)), 0, quoted),
    )


def _tcp_talk(rng: Random, _is_ipv4: bool) -> Iterator[tuple[Transport, bool]]:
    ports = rng.sample(TP_PORTS, 2)
    seq = [rng.choice((0, 1000, 0xFFFFFFFC)), rng.choice((1, 70000))]
    options = b"\x03\x03\x02\x00" if rng.random() < 0.4 else b""
    for flags, side, size in _tcp_script(rng):
        if rng.random() < 0.06:
            continue  # lost on the way
        shift = rng.choice((-70000, 70000, 1, 0x40000000)) if rng.random() < 0.06 else 0
        tcp = Tcp(
            *(ports if not side else ports[::-1]),
            seq=seq[side] + shift & 0xFFFFFFFF,
            ack=seq[1 - side] if flags & ACK else 0,
            flags=flags,
            window=rng.choice((65535, 1000, 0)),
            options=options if flags & SYN else b"",
            payload=bytes(size),
        )
        yield tcp, bool(side)
        if rng.random() < 0.08:
            yield tcp, bool(side)  # again
        seq[side] = seq[side] + size + bool(flags & SYN) + bool(flags & FIN) & 0xFFFFFFFF


def _tcp_script(rng: Random) -> Iterator[tuple[int, int, int]]:
    """(flags, side, payload bytes) of a life: opened or picked up, used, closed or reset, opened again."""
    while True:
        if rng.random() < 0.85:
            yield from ((SYN, 0, 0), (SYN | ACK, 1, 0), (ACK, 0, 0))
        for _ in range(rng.randint(0, 4)):
            yield ACK | PSH, rng.randrange(2), rng.choice((1, 100, 0))
        match rng.randrange(3):
            case 0:
                yield from ((FIN | ACK, 0, 0), (FIN | ACK, 1, 0), (ACK, 0, 0))
            case 1:
                yield rng.choice((RST, RST | ACK)), rng.randrange(2), 0
            case _:
                yield SYN, rng.randrange(2), 0


def _udp_talk(rng: Random, _is_ipv4: bool) -> Iterator[tuple[Transport, bool]]:
    ports = rng.sample((*TP_PORTS, 69), 2)
    while True:
        is_reply = rng.random() < 0.4
        yield Udp(*(ports[::-1] if is_reply else ports), rng.randbytes(4)), is_reply


def _echo_talk(rng: Random, is_ipv4: bool) -> Iterator[tuple[Transport, bool]]:
    number, kinds = rng.choice((1, 2)), ((8, 0) if is_ipv4 else (128, 129))
    while True:
        is_reply = rng.random() < 0.4
        yield Icmp(kinds[is_reply], 0, number << 16 | rng.randrange(3), b"ping"), is_reply
