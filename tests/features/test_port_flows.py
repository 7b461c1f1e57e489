# SPDX-License-Identifier: Apache-2.0
"""Ports in packets: who gets what, who answers ARP and neighbour discovery, and what nobody may claim to be."""

import pytest

from alcor.base.net import Ip, Mac, link_local
from alcor.testing.packet import BROADCAST, NO_MAC, Arp, Icmp, Ipv4, Ipv6, Nd, Packet, Udp
from tests.agent.fabric import Fabric
from tests.agent.wanted import Nic, nic, pair
from tests.features.packets import (
    FREE_IP,
    FREE_IP6,
    STRANGER,
    advertisement,
    arp_request,
    echo,
    echo6,
    echo_reply,
    everything_within,
    ip4,
    own_link_local,
    small_world,
    solicitation,
    to_all,
    udp,
    udp6,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_known_unicast_reaches_its_target_and_nobody_else(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    await fabric.realise()
    assert await fabric.reached("a", echo(a, b)) == {"b"}
    assert await fabric.reached("b", echo_reply(b, a)) == {"a"}
    assert await fabric.reached("a", echo(a, c)) == {"c"}
    assert await fabric.reached("c", echo_reply(c, a)) == {"a"}
    assert await fabric.reached("a", echo6(a, b)) == {"b"}
    assert await fabric.reached("a", echo6(a, c)) == {"c"}


async def test_unknown_unicast_is_dropped(fabric: Fabric) -> None:
    a, b, _ = small_world(fabric)
    await fabric.realise()
    assert await fabric.send("a", Packet(a.mac, STRANGER, Ipv4(a.ipv4, b.ipv4, Udp(1, 2)))) == []


async def test_broadcast_reaches_every_other_port_of_the_network_once(fabric: Fabric) -> None:
    a, _, c = small_world(fabric)
    fabric.add("d", nic(4, "n", "two", groups=("g",)))
    fabric.wanted.vnis["m"] = 5002
    fabric.add("x", nic(11, "m", "one", groups=("g",)))
    fabric.add("y", nic(12, "m", "two", groups=("g",)))
    await fabric.realise()
    assert sorted(name for name, _ in await fabric.send("a", to_all(a))) == ["b", "c", "d"]
    assert sorted(name for name, _ in await fabric.send("c", to_all(c))) == ["a", "b", "d"]


async def test_multicast_is_replicated_within_the_network(fabric: Fabric) -> None:
    a, _, _ = small_world(fabric)
    await fabric.realise()
    mdns = Packet(a.mac, Mac("01:00:5e:00:00:fb"), Ipv4(a.ipv4, Ip("224.0.0.251"), Udp(5353, 5353, b"who")))
    assert await fabric.reached("a", mdns) == {"b", "c"}


async def test_messages_between_bridges_are_not_replicated(fabric: Fabric) -> None:
    small_world(fabric)
    open_port = fabric.add("p", nic(7, "n", "one", port_security=False))
    await fabric.realise()
    assert (
        await fabric.send("p", Packet(open_port.mac, Mac("01:80:c2:00:00:00"), b"\x00" * 46, kind=0x88CC))
        == []
    )


async def test_networks_with_the_same_addresses_do_not_meet(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    fabric.wanted.vnis["m"] = 5002
    x = fabric.add("x", nic(21, "m", "one", mac=b.mac, addresses=b.addresses, groups=("g",)))
    y = fabric.add("y", nic(22, "m", "two", mac=a.mac, addresses=a.addresses, groups=("g",)))
    await fabric.realise()
    assert await fabric.reached("a", echo(a, b)) == {"b"}
    assert await fabric.reached("y", echo(y, x)) == {"x"}
    assert await fabric.reached("c", echo(c, a)) == {"a"}
    assert await fabric.send("y", echo(y, c)) == []


async def test_broadcast_passes_the_ingress_rules_of_each_port(fabric: Fabric) -> None:
    a, _, _ = small_world(fabric)
    everything_within(fabric, "other")
    fabric.change("b", groups=("other",))
    await fabric.realise()
    assert await fabric.reached("a", to_all(a)) == {"c"}


async def test_port_that_is_down_neither_sends_nor_receives_nor_is_answered_for(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    fabric.change("b", admin_state_up=False)
    await fabric.realise()
    assert await fabric.send("b", to_all(b)) == []
    assert await fabric.send("a", echo(a, b)) == []
    assert await fabric.reached("a", arp_request(a, b.ipv4)) == {"c"}, "it is an unknown address"
    assert await fabric.reached("a", echo(a, c)) == {"c"}
    fabric.change("b", admin_state_up=True)
    await fabric.realise()
    assert await fabric.reached("a", echo(a, b)) == {"b"}


async def test_network_that_is_down_carries_nothing(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    fabric.wanted.networks_down.add("n")
    await fabric.realise()
    for to in (b, c):
        assert await fabric.send("a", echo(a, to)) == []
    fabric.wanted.networks_down.clear()
    await fabric.realise()
    assert await fabric.reached("a", echo(a, c)) == {"c"}


async def test_port_without_port_security_says_what_it_likes_and_gets_everything(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    fabric.wanted.rule("g", "ingress", remote_prefix="10.0.0.0/24", protocol=17)
    p = fabric.add("p", nic(7, "n", "one", port_security=False))
    await fabric.realise()
    spoofed = Packet(STRANGER, c.mac, Ipv4(FREE_IP, c.ipv4, Udp(5, 6, b"as I like")))
    assert await fabric.reached("p", spoofed) == {"c"}
    assert await fabric.send("p", echo(p, b)) == [], "which does not open the groups of others"
    assert await fabric.reached("a", udp(a, p)) == {"p"}
    odd = Packet(p.mac, c.mac, b"\x01" * 46, kind=0x88B5)
    assert await fabric.send("p", odd) == [], "a port with port security gets only IP and ARP"


async def test_port_without_port_security_is_not_taken_for_a_member_on_its_host(fabric: Fabric) -> None:
    a, _, c = small_world(fabric)
    p = fabric.add("p", nic(7, "n", "one", port_security=False))
    await fabric.realise()

    assert await fabric.reached("a", udp(a, c)) == {"c"}
    assert await fabric.reached("p", udp(a, c, source=40001)) == set()
    assert await fabric.reached("p", udp(p, c)) == set()


async def test_router_advertisement_of_a_port_without_port_security_reaches_all(fabric: Fabric) -> None:
    small_world(fabric)
    p = fabric.add("p", nic(7, "n", "one", port_security=False))
    await fabric.realise()
    source = Ipv6(link_local(p.mac), Ip("ff02::1"), Icmp(134, 0, 0x40000708, b"\0" * 8), ttl=255)
    assert await fabric.reached("p", Packet(p.mac, Mac("33:33:00:00:00:01"), source)) == {"a", "b", "c"}


@pytest.mark.parametrize("target", ["b", "c"])
async def test_arp_for_a_known_address_is_answered_on_the_host(fabric: Fabric, target: str) -> None:
    a, _, _ = small_world(fabric)
    wanted = fabric.wanted.nics[target]
    await fabric.realise()
    [(name, answer)] = await fabric.send("a", arp_request(a, wanted.ipv4))
    assert name == "a"
    assert (answer.src, answer.dst) == (wanted.mac, a.mac)
    assert answer.payload == Arp(2, wanted.mac, wanted.ipv4, a.mac, a.ipv4)


@pytest.mark.parametrize("target", ["b", "c"])
async def test_solicitation_of_a_known_address_is_answered_on_the_host(fabric: Fabric, target: str) -> None:
    a, _, _ = small_world(fabric)
    wanted = fabric.wanted.nics[target]
    await fabric.realise()
    for address in (wanted.ipv6, link_local(wanted.mac)):
        [(name, answer)] = await fabric.send("a", solicitation(a, address))
        assert name == "a"
        assert (answer.src, answer.dst) == (wanted.mac, a.mac)
        said = Nd(136, address, target_mac=wanted.mac, flags=0x60000000)
        assert answer.payload == Ipv6(address, a.ipv6, said, ttl=255)


async def test_solicitation_without_the_askers_mac_is_for_the_owner_to_answer(fabric: Fabric) -> None:
    a, b, _ = small_world(fabric)
    await fabric.realise()
    asked = Packet(a.mac, b.mac, Ipv6(a.ipv6, b.ipv6, Nd(135, b.ipv6), ttl=255))
    assert await fabric.reached("a", asked) == {"b"}


async def test_arp_and_solicitation_for_unknown_addresses_go_to_the_whole_network(fabric: Fabric) -> None:
    a, _, _ = small_world(fabric)
    await fabric.realise()
    assert await fabric.reached("a", arp_request(a, FREE_IP)) == {"b", "c"}
    assert await fabric.reached("a", solicitation(a, FREE_IP6)) == {"b", "c"}


async def test_announcements_and_probes_of_ones_own_address_are_not_answered_but_spread(
    fabric: Fabric,
) -> None:
    a, _, _ = small_world(fabric)
    await fabric.realise()
    announcement = arp_request(a, a.ipv4)
    probe = arp_request(a, a.ipv4, sender_ip="0.0.0.0")
    dad = solicitation(a, a.ipv6, Ip("::"))
    for packet in (announcement, probe, dad):
        arrivals = await fabric.send("a", packet)
        assert {name for name, _ in arrivals} == {"b", "c"}
        assert {got.payload for _, got in arrivals} == {packet.payload}


async def test_probe_for_a_taken_address_reaches_its_owner(fabric: Fabric) -> None:
    _, _, c = small_world(fabric)
    p = fabric.add("p", nic(7, "n", "one", port_security=False))
    await fabric.realise()
    assert "c" in await fabric.reached("p", solicitation(p, c.ipv6, Ip("::")))
    assert "c" in await fabric.reached("p", arp_request(p, c.ipv4, sender_ip="0.0.0.0"))


async def test_address_with_several_claimants_is_not_answered_for(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    fabric.change("b", pairs=(pair(f"{c.ipv4}/32", b.mac), pair(f"{c.ipv6}/128", b.mac)))
    await fabric.realise()
    assert await fabric.reached("a", arp_request(a, c.ipv4)) == {"b", "c"}
    assert await fabric.reached("a", solicitation(a, c.ipv6)) == {"b", "c"}
    fabric.change("b", pairs=())
    await fabric.realise()
    assert {name for name, _ in await fabric.send("a", arp_request(a, c.ipv4))} == {"a"}


async def test_mac_of_several_claimants_reaches_each_of_them(fabric: Fabric) -> None:
    a, _, _ = small_world(fabric)
    shared, vip = Mac("00:00:5e:00:01:07"), Ip("10.0.0.100")
    for name in ("b", "c"):
        fabric.change(name, pairs=(pair(f"{vip}/32", shared),))
    fabric.add("d", nic(4, "n", "two", groups=("g",)))
    await fabric.realise()
    assert await fabric.reached("a", Packet(a.mac, shared, Ipv4(a.ipv4, vip, Udp(1, 2, b"vip")))) == {
        "b",
        "c",
    }
    assert await fabric.reached(
        "d", Packet(nic(4, "n", "two").mac, shared, Ipv4(Ip("10.0.0.4"), vip, Udp(1, 2)))
    ) == {
        "b",
        "c",
    }
    assert await fabric.reached("c", Packet(shared, a.mac, Ipv4(vip, a.ipv4, Udp(3, 4, b"mine")))) == {"a"}
    assert await fabric.reached("b", Packet(shared, a.mac, Ipv4(vip, a.ipv4, Udp(5, 6, b"mine")))) == {"a"}


async def test_allowed_pairs_may_be_used_as_given(fabric: Fabric) -> None:
    a, b, _ = small_world(fabric)
    other = Mac("fa:16:3e:00:07:07")
    fabric.change("a", pairs=(pair("10.0.0.128/25", a.mac), pair("fd00:7::/64", other)))
    await fabric.realise()
    assert await fabric.reached("a", ip4_from(a, b, Ip("10.0.0.200"))) == {"b"}
    assert await fabric.reached("a", arp_request(a, FREE_IP, sender_ip="10.0.0.129")) == {"b", "c"}
    assert await fabric.reached("a", ip6_from(other, b, Ip("fd00:7::1"))) == {"b"}
    assert await fabric.reached("a", ip4_from(a, b, Ip("10.0.0.127"))) == set()
    assert await fabric.reached("a", ip6_from(a.mac, b, Ip("fd00:7::1"))) == set()
    claim = Packet(
        other, b.mac, Ipv6(Ip("fd00:7::1"), b.ipv6, Nd(136, Ip("fd00:7::1"), target_mac=other), ttl=255)
    )
    assert await fabric.reached("a", claim) == {"b"}


async def test_pair_of_everything_lets_every_address_pass(fabric: Fabric) -> None:
    a, b, _ = small_world(fabric)
    fabric.change("a", pairs=(pair("0.0.0.0/0", a.mac), pair("::/0", a.mac)))
    await fabric.realise()
    assert await fabric.reached("a", ip4_from(a, b, Ip("192.0.2.1"))) == {"b"}
    assert await fabric.reached("a", ip6_from(a.mac, b, Ip("2001:db8::1"))) == {"b"}
    assert await fabric.reached("a", router_advertisement(a)) == set()


async def test_what_a_machine_says_before_it_has_an_address_passes(fabric: Fabric) -> None:
    a, _, _ = small_world(fabric)
    await fabric.realise()
    mine = own_link_local(a)
    all_routers, all_reports = Ip("ff02::2"), Ip("ff02::16")
    passing = [
        Packet(a.mac, BROADCAST, Ipv4(Ip("0.0.0.0"), Ip("255.255.255.255"), Udp(68, 67, b"discover"))),
        Packet(a.mac, Mac("33:33:00:01:00:02"), Ipv6(mine, Ip("ff02::1:2"), Udp(546, 547, b"solicit"))),
        Packet(
            a.mac, Mac("33:33:00:00:00:16"), Ipv6(Ip("::"), all_reports, Icmp(143, 0, 1, b"\4" + b"\0" * 19))
        ),
        Packet(a.mac, Mac("33:33:00:00:00:16"), Ipv6(mine, all_reports, Icmp(143, 0, 1, b"\4" + b"\0" * 19))),
        solicitation(a, mine, Ip("::")),
    ]
    fabric.add("p", nic(7, "n", "two", port_security=False))
    await fabric.realise()
    for packet in passing:
        assert "p" in await fabric.reached("a", packet), packet
    question = Packet(a.mac, Mac("33:33:00:00:00:02"), Ipv6(mine, all_routers, Icmp(133, 0, 0, b""), ttl=255))
    assert "p" in await fabric.reached("a", question)


def ip4_from(sender: Nic, to: Nic, source: Ip) -> Packet:
    return Packet(sender.mac, to.mac, Ipv4(source, to.ipv4, Udp(40000, 9000, b"from")))


def ip6_from(mac: Mac, to: Nic, source: Ip) -> Packet:
    return Packet(mac, to.mac, Ipv6(source, to.ipv6, Udp(40000, 9000, b"from")))


def router_advertisement(sender: Nic) -> Packet:
    said = Ipv6(own_link_local(sender), Ip("ff02::1"), Icmp(134, 0, 0x40000708, b"\0" * 8), ttl=255)
    return Packet(sender.mac, Mac("33:33:00:00:00:01"), said)


async def test_pysec_2021_136_neighbour_advertisement_for_the_address_of_another_is_refused(
    fabric: Fabric,
) -> None:
    """PYSEC-2021-136 (CVE-2021-20267): a machine impersonated the IPv6 addresses of others by what it advertised."""
    a, b, c = small_world(fabric)
    await fabric.realise()
    assert await fabric.reached("a", advertisement(a, b, a.ipv6, a.mac)) == {"b"}
    assert await fabric.reached("a", advertisement(a, b, a.ipv6)) == {"b"}
    for target in (c.ipv6, link_local(c.mac), FREE_IP6):
        for target_mac in (a.mac, c.mac, None):
            assert await fabric.send("a", advertisement(a, b, target, target_mac)) == []
            assert (
                await fabric.send("a", advertisement(a, b, target, target_mac, source=own_link_local(a)))
                == []
            )


async def test_pysec_2021_360_frames_with_the_mac_of_another_are_refused(fabric: Fabric) -> None:
    """PYSEC-2021-360 (CVE-2021-38598): a machine impersonated the hardware address of others."""
    a, b, c = small_world(fabric)
    await fabric.realise()
    for mac in (c.mac, STRANGER):
        spoofed = [
            Packet(mac, b.mac, Ipv4(a.ipv4, b.ipv4, Udp(1, 2))),
            Packet(mac, b.mac, Ipv6(a.ipv6, b.ipv6, Udp(1, 2))),
            Packet(mac, BROADCAST, Arp(1, a.mac, a.ipv4, NO_MAC, FREE_IP)),
            Packet(mac, BROADCAST, Arp(1, mac, a.ipv4, NO_MAC, FREE_IP)),
            Packet(a.mac, BROADCAST, Arp(1, mac, a.ipv4, NO_MAC, FREE_IP)),
            Packet(a.mac, b.mac, Arp(2, mac, a.ipv4, b.mac, b.ipv4)),
            Packet(mac, BROADCAST, Ipv4(Ip("0.0.0.0"), Ip("255.255.255.255"), Udp(68, 67))),
            Packet(
                mac,
                Mac("33:33:00:00:00:16"),
                Ipv6(Ip("::"), Ip("ff02::16"), Icmp(143, 0, 1, b"\4" + b"\0" * 19)),
            ),
            solicitation(a, FREE_IP6, source_mac=mac),
            advertisement(a, b, a.ipv6, mac),
        ]
        for packet in spoofed:
            assert await fabric.send("a", packet) == [], packet


async def test_cve_2015_8914_icmpv6_from_the_link_local_address_of_another_is_refused(fabric: Fabric) -> None:
    """CVE-2015-8914: neighbour discovery with a link-local source went round the protection against spoofing."""
    a, b, c = small_world(fabric)
    await fabric.realise()
    stolen = link_local(c.mac)
    assert await fabric.reached("a", solicitation(a, FREE_IP6, own_link_local(a))) == {"b", "c"}
    spoofed = [
        solicitation(a, FREE_IP6, stolen),
        solicitation(a, b.ipv6, stolen),
        advertisement(a, b, stolen, a.mac, source=stolen),
        advertisement(a, b, a.ipv6, a.mac, source=stolen),
        Packet(a.mac, b.mac, Ipv6(stolen, link_local(b.mac), Icmp(128, 0, 1, b"ping"))),
        Packet(a.mac, Mac("33:33:00:00:00:02"), Ipv6(stolen, Ip("ff02::2"), Icmp(133, 0, 0, b""), ttl=255)),
        Packet(
            a.mac, Mac("33:33:00:00:00:16"), Ipv6(stolen, Ip("ff02::16"), Icmp(143, 0, 1, b"\4" + b"\0" * 19))
        ),
    ]
    for packet in spoofed:
        assert await fabric.send("a", packet) == [], packet


async def test_addresses_of_others_and_roles_of_others_are_refused(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    await fabric.realise()
    mine = own_link_local(a)
    unspecified = Ip("::")
    refused = [
        Packet(a.mac, b.mac, Ipv4(c.ipv4, b.ipv4, Udp(1, 2))),
        Packet(a.mac, b.mac, Ipv4(FREE_IP, b.ipv4, Icmp(8, 0, 1))),
        Packet(a.mac, b.mac, Ipv6(c.ipv6, b.ipv6, Udp(1, 2))),
        Packet(a.mac, b.mac, Ipv6(unspecified, b.ipv6, Udp(1, 2))),
        Packet(a.mac, b.mac, Ipv6(unspecified, b.ipv6, Icmp(128, 0, 1))),
        Packet(a.mac, b.mac, Ipv4(Ip("0.0.0.0"), b.ipv4, Udp(1, 2))),
        arp_request(a, FREE_IP, sender_ip=c.ipv4),
        arp_request(a, c.ipv4, sender_ip="0.0.0.0"),
        Packet(a.mac, b.mac, Arp(2, a.mac, c.ipv4, b.mac, b.ipv4)),
        solicitation(a, c.ipv6, unspecified),
        router_advertisement(a),
        Packet(a.mac, b.mac, Ipv6(mine, b.ipv6, Icmp(137, 0, 0, b"\0" * 32), ttl=255)),
        Packet(a.mac, b.mac, Ipv4(a.ipv4, b.ipv4, Udp(67, 68, b"offer"))),
        Packet(a.mac, b.mac, Ipv6(mine, b.ipv6, Udp(547, 546, b"advertise"))),
        Packet(a.mac, b.mac, Ipv4(a.ipv4, b.ipv4, Udp(1, 2)), vlan=7),
        Packet(a.mac, b.mac, b"\x45" * 46, kind=0x88B5),
    ]
    for packet in refused:
        assert await fabric.send("a", packet) == [], packet


async def test_neighbour_discovery_in_fragments_is_refused(fabric: Fabric) -> None:
    """RFC 6980: fragments would hide what is advertised."""
    a, b, c = small_world(fabric)
    p = fabric.add("p", nic(7, "n", "one", port_security=False))
    await fabric.realise()
    body = advertisement(a, p, c.ipv6, a.mac).build()[54:]
    for type_ in (b"\x86", b"\x88"):
        first = bytes([58, 0, 0, 1, 0, 0, 0, 9])
        fragment = Ipv6(a.ipv6, p.ipv6, type_ + body[1:24], proto=58, extensions=first, first=44)
        assert await fabric.send("a", Packet(a.mac, p.mac, fragment)) == []
    assert await fabric.reached("a", udp6(a, b)) == {"b"}


async def test_everything_goes_when_the_port_goes(fabric: Fabric) -> None:
    a, _, c = small_world(fabric)
    await fabric.realise()
    assert await fabric.reached("a", ip4(a, c, Udp(1, 2))) == {"c"}
    before = {host: len(agent.deriver.wanted) for host, agent in fabric.agents.items()}
    d = fabric.add("d", nic(4, "n", "two", groups=("g", "h")))
    await fabric.realise()
    assert await fabric.reached("a", udp(a, d)) == {"d"}
    del fabric.wanted.nics["d"]
    await fabric.realise()
    assert {host: len(agent.deriver.wanted) for host, agent in fabric.agents.items()} == before
