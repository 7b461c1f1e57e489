# SPDX-License-Identifier: Apache-2.0
"""A virtual machine of the World: resolves, pings and answers as a small IP stack does, packet by packet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace

from alcor.base.net import Ip, Mac, ip_int, ip_version, link_local, mac_of
from alcor.testing.packet import ACK, BROADCAST, NO_MAC, SYN, Arp, Icmp, Ipv4, Ipv6, Nd, Packet, Tcp, Udp

ECHO = {4: (8, 0), 6: (128, 129)}  # ICMP types: request, reply
SOLICIT, ADVERTISE = 135, 136
_CLIENT_PORT = 40_000


class Machine:
    """One interface with its addresses. `emit` carries a packet into the switch; `receive` takes what comes out."""

    def __init__(
        self, name: str, mac: Mac, addresses: tuple[Ip, ...], emit: Callable[[Packet], None]
    ) -> None:
        self.name = name
        self.mac = mac
        self.addresses = addresses
        self.got: deque[Packet] = deque(maxlen=1_000)
        self.open_ports: set[int] = set()
        self._emit = emit
        self._known: dict[Ip, Mac] = {}
        self._next_port = _CLIENT_PORT

    def send(self, packet: Packet) -> None:
        """Puts any packet on the wire, also one that no honest machine would send."""
        self._emit(packet)

    def ping(self, ip: Ip) -> bool:
        """Whether an echo request to `ip` is answered."""
        version = ip_version(ip)
        request, reply = ECHO[version]
        self._next_port += 1
        word = self._next_port << 16 | 1
        return self._asked(
            ip,
            Icmp(request, 0, word, b"ping"),
            lambda payload: isinstance(payload, Icmp) and payload.type == reply and payload.rest == word,
        )

    def tcp(self, ip: Ip, port: int) -> bool:
        """Whether a SYN to `port` is answered by a SYN with ACK; the handshake is then completed."""
        self._next_port += 1
        source = self._next_port
        is_open = self._asked(
            ip,
            Tcp(source, port, seq=100, flags=SYN),
            lambda payload: isinstance(payload, Tcp) and payload.dst == source and payload.flags == SYN | ACK,
        )
        if is_open:
            self._to(ip, Tcp(source, port, seq=101, ack=501, flags=ACK))
        return is_open

    def udp(self, ip: Ip, port: int, source: int = 0) -> bool:
        """Whether a datagram to `port` is echoed. The same `source` again goes on with the same connection."""
        if not source:
            self._next_port += 1
            source = self._next_port
        return self._asked(
            ip,
            Udp(source, port, b"hello"),
            lambda payload: isinstance(payload, Udp) and payload.dst == source and payload.src == port,
        )

    def resolve(self, ip: Ip) -> Mac | None:
        """The MAC that answers for `ip`, asked anew."""
        self._known.pop(ip, None)
        if ip_version(ip) == 4:
            question = Arp(1, self.mac, self._source(4), NO_MAC, ip)
            self._emit(Packet(self.mac, BROADCAST, question))
        else:
            solicited = Ip(f"ff02::1:ff{ip_int(ip) >> 16 & 0xFF:02x}:{ip_int(ip) & 0xFFFF:x}")
            group = mac_of(0x3333FF000000 | ip_int(ip) & 0xFFFFFF)
            question6 = Ipv6(self._source(6), solicited, Nd(SOLICIT, ip, source_mac=self.mac), ttl=255)
            self._emit(Packet(self.mac, group, question6))
        return self._known.get(ip)

    def receive(self, packet: Packet) -> None:
        """Takes a packet off the wire and answers what a machine answers."""
        self.got.append(packet)
        is_mine = packet.dst == self.mac or int(packet.dst[:2], 16) & 1
        match packet.payload:
            case Arp() as arp if is_mine:
                self._on_arp(arp)
            case Ipv4() | Ipv6() as ip if is_mine and isinstance(ip.payload, Nd):
                self._on_nd(packet, ip.payload)
            case Ipv4() | Ipv6() as ip if is_mine and ip.dst in self.addresses:
                self._on_ip(packet, ip)
            case _:
                return

    def _asked(self, ip: Ip, payload: Icmp | Tcp | Udp, is_answer: Callable[[object], bool]) -> bool:
        self.got.clear()
        if not self._to(ip, payload):
            return False
        return any(
            isinstance(got.payload, Ipv4 | Ipv6) and got.payload.src == ip and is_answer(got.payload.payload)
            for got in self.got
        )

    def _to(self, ip: Ip, payload: Icmp | Tcp | Udp) -> bool:
        mac = self._known.get(ip) or self.resolve(ip)
        if mac is None:
            return False
        kind = Ipv4 if ip_version(ip) == 4 else Ipv6
        self._emit(Packet(self.mac, mac, kind(self._source(ip_version(ip)), ip, payload)))
        return True

    def _source(self, version: int) -> Ip:
        own = [address for address in self.addresses if ip_version(address) == version]
        return own[0] if own else (link_local(self.mac) if version == 6 else Ip("0.0.0.0"))

    def _on_arp(self, arp: Arp) -> None:
        if (
            arp.operation == 2 or arp.sender_ip in self._known
        ):  # RFC 826: what is known is learnt anew from anybody
            self._known[arp.sender_ip] = arp.sender_mac
        if arp.operation == 1 and arp.target_ip in self.addresses:
            answer = Arp(2, self.mac, arp.target_ip, arp.sender_mac, arp.sender_ip)
            self._emit(Packet(self.mac, arp.sender_mac, answer))

    def _on_nd(self, packet: Packet, nd: Nd) -> None:
        own = {*self.addresses, link_local(self.mac)}
        if nd.type == ADVERTISE:
            self._known[nd.target] = nd.target_mac or packet.src
        elif nd.type == SOLICIT and nd.target in own and isinstance(packet.payload, Ipv6):
            answer = Nd(ADVERTISE, nd.target, target_mac=self.mac, flags=0x60000000)
            self._emit(Packet(self.mac, packet.src, Ipv6(nd.target, packet.payload.src, answer, ttl=255)))

    def _on_ip(self, packet: Packet, ip: Ipv4 | Ipv6) -> None:
        payload = ip.payload
        request, reply = ECHO[6 if isinstance(ip, Ipv6) else 4]
        answer: Icmp | Tcp | Udp | None = None
        if isinstance(payload, Icmp) and payload.type == request:
            answer = replace(payload, type=reply)
        elif isinstance(payload, Udp) and payload.dst in self.open_ports:
            answer = Udp(payload.dst, payload.src, payload.payload)
        elif isinstance(payload, Tcp) and payload.dst in self.open_ports and payload.flags == SYN:
            answer = Tcp(payload.dst, payload.src, seq=500, ack=payload.seq + 1, flags=SYN | ACK)
        if answer is not None:
            self._emit(Packet(self.mac, packet.src, type(ip)(ip.dst, ip.src, answer)))
