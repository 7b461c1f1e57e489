# SPDX-License-Identifier: Apache-2.0
"""Packets that ports of the small world send, each in one word; and that world."""

from alcor.base.net import Ip, Mac, ip_int, link_local
from alcor.testing.packet import (
    ACK,
    BROADCAST,
    NO_MAC,
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
from tests.agent.fabric import Fabric
from tests.agent.wanted import Nic, nic

STRANGER = Mac("fa:16:3e:99:99:99")
FREE_IP = Ip("10.0.0.200")  # of nobody
FREE_IP6 = Ip("fd00::c8")
SOLICITED, OVERRIDE = 0x40000000, 0x20000000


def small_world(fabric: Fabric) -> tuple[Nic, Nic, Nic]:
    """Network `n` with a and b on host one and c on host two, all in group `g`, which lets them do everything."""
    fabric.wanted.vnis["n"] = 5001
    everything_within(fabric, "g")
    a = fabric.add("a", nic(1, "n", "one", groups=("g",)))
    b = fabric.add("b", nic(2, "n", "one", groups=("g",)))
    c = fabric.add("c", nic(3, "n", "two", groups=("g",)))
    return a, b, c


def everything_within(fabric: Fabric, group: str) -> None:
    """The four rules of Neutron's default group."""
    for version in (4, 6):
        fabric.wanted.rule(group, "egress", version)
        fabric.wanted.rule(group, "ingress", version, remote_group=group)


def ip4(sender: Nic, to: Nic, payload: Transport) -> Packet:
    return Packet(sender.mac, to.mac, Ipv4(sender.ipv4, to.ipv4, payload))


def ip6(sender: Nic, to: Nic, payload: Transport) -> Packet:
    return Packet(sender.mac, to.mac, Ipv6(sender.ipv6, to.ipv6, payload))


def echo(sender: Nic, to: Nic) -> Packet:
    return ip4(sender, to, Icmp(8, 0, 0x10001, b"ping"))


def echo_reply(sender: Nic, to: Nic) -> Packet:
    return ip4(sender, to, Icmp(0, 0, 0x10001, b"ping"))


def echo6(sender: Nic, to: Nic) -> Packet:
    return ip6(sender, to, Icmp(128, 0, 0x10001, b"ping"))


def udp(sender: Nic, to: Nic, port: int = 9000, source: int = 40000) -> Packet:
    return ip4(sender, to, Udp(source, port, b"hello"))


def udp6(sender: Nic, to: Nic, port: int = 9000, source: int = 40000) -> Packet:
    return ip6(sender, to, Udp(source, port, b"hello"))


def syn(sender: Nic, to: Nic, port: int, source: int = 40000) -> Packet:
    return ip4(sender, to, Tcp(source, port, seq=100, flags=SYN))


def syn_ack(sender: Nic, to: Nic, port: int, source: int = 40000) -> Packet:
    return ip4(sender, to, Tcp(port, source, seq=500, ack=101, flags=SYN | ACK))


def ack(sender: Nic, to: Nic, port: int, source: int = 40000) -> Packet:
    """What the client says third, or later."""
    return ip4(sender, to, Tcp(source, port, seq=101, ack=501, flags=ACK))


def answer_ack(sender: Nic, to: Nic, port: int, source: int = 40000) -> Packet:
    """What the server says later."""
    return ip4(sender, to, Tcp(port, source, seq=501, ack=101, flags=ACK))


def to_all(sender: Nic, port: int = 9000) -> Packet:
    return Packet(sender.mac, BROADCAST, Ipv4(sender.ipv4, Ip("255.255.255.255"), Udp(40000, port, b"all")))


def arp_request(sender: Nic, target: Ip, **other: str) -> Packet:
    claimed = {"sender_mac": sender.mac, "sender_ip": sender.ipv4} | other
    return Packet(
        sender.mac, BROADCAST, Arp(1, Mac(claimed["sender_mac"]), Ip(claimed["sender_ip"]), NO_MAC, target)
    )


def solicitation(sender: Nic, target: Ip, source: Ip | None = None, source_mac: Mac | None = None) -> Packet:
    low = ip_int(target) & 0xFFFFFF
    group_mac = Mac(f"33:33:ff:{low >> 16:02x}:{low >> 8 & 255:02x}:{low & 255:02x}")
    group = Ip(f"ff02::1:ff{low >> 16:02x}:{low & 0xFFFF:x}")
    source = sender.ipv6 if source is None else source
    option = None if source == "::" else source_mac or sender.mac
    return Packet(sender.mac, group_mac, Ipv6(source, group, Nd(135, target, option), ttl=255))


def advertisement(
    sender: Nic, to: Nic, target: Ip, target_mac: Mac | None = None, source: Ip | None = None
) -> Packet:
    nd = Nd(136, target, target_mac=target_mac, flags=SOLICITED | OVERRIDE)
    return Packet(sender.mac, to.mac, Ipv6(source or sender.ipv6, to.ipv6, nd, ttl=255))


def own_link_local(sender: Nic) -> Ip:
    return link_local(sender.mac)
