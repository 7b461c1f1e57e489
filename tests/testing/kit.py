# SPDX-License-Identifier: Apache-2.0
"""A fake switch with four ports, and packets to put through it."""

from dataclasses import dataclass

from alcor.base.net import Ip, Mac
from alcor.testing.fake_switch import FakeSwitch
from alcor.testing.packet import Ipv4, Ipv6, Packet, Tcp, Transport, Udp

A, B = Mac("fa:16:3e:00:00:01"), Mac("fa:16:3e:00:00:02")
IP_A, IP_B = Ip("10.0.0.1"), Ip("10.0.0.2")
V6_A, V6_B = Ip("fd00::1"), Ip("fd00::2")
TUNNEL, LOCAL_IP, PEER_IP = 9, 0x0A630001, 0x0A630002


@dataclass
class StillClock:
    """A clock that moves when it is told to."""

    at_s: float = 0.0

    def now_s(self) -> float:
        """The time that it was set to."""
        return self.at_s

    def monotonic_s(self) -> float:
        """The time that it was set to."""
        return self.at_s


def new_switch(clock: StillClock | None = None) -> FakeSwitch:
    """Ports 1 to 4, and a tunnel."""
    switch = FakeSwitch(clock or StillClock())
    for port in (1, 2, 3, 4):
        switch.add_port(port)
    switch.add_tunnel_port(TUNNEL, LOCAL_IP)
    return switch


def there(payload: Transport, **fields: int) -> Packet:
    """IPv4 from A to B."""
    return Packet(A, B, Ipv4(IP_A, IP_B, payload, **fields))


def back(payload: Transport) -> Packet:
    """IPv4 from B to A."""
    return Packet(B, A, Ipv4(IP_B, IP_A, payload))


def there6(payload: Transport) -> Packet:
    """IPv6 from A to B."""
    return Packet(A, B, Ipv6(V6_A, V6_B, payload, ttl=255))


UDP_THERE, UDP_BACK = there(Udp(5000, 53, b"question")), back(Udp(53, 5000, b"answer"))
TCP_THERE = there(Tcp(1000, 80))
