# SPDX-License-Identifier: Apache-2.0
"""Addresses and MACs of several claimants in packets: who is asked, who gets what, and what the agent is told."""

from dataclasses import replace

import msgspec
import pytest

from alcor.base.net import Ip, Mac
from alcor.dataplane.rows import Claim
from alcor.testing.packet import BROADCAST, NO_MAC, Arp, Icmp, Ipv4, Ipv6, Nd, Packet, Udp
from tests.agent.fabric import Fabric, FakeFabric, open_fabric
from tests.agent.wanted import Nic, nic, pair
from tests.features.packets import arp_request, small_world, solicitation, udp

pytestmark = pytest.mark.asyncio(loop_scope="module")

VMAC = Mac("00:00:5e:00:01:07")
VIP, VIP6 = Ip("10.0.0.100"), Ip("fd00::64")


def redundant(fabric: Fabric, mac: Mac | None = None) -> tuple[Nic, Nic, Nic]:
    """The small world, where b on one and c on two may have the virtual addresses; and a bystander d on two."""
    a, b, c = small_world(fabric)
    fabric.add("d", nic(4, "n", "two", groups=("g",)))
    for name, one in (("b", b), ("c", c)):
        fabric.change(name, pairs=(pair(f"{VIP}/32", mac or one.mac), pair(f"{VIP6}/128", mac or one.mac)))
    return a, b, c


def to_vip(sender: Nic, mac: Mac, port: int = 1) -> Packet:
    return Packet(sender.mac, mac, Ipv4(sender.ipv4, VIP, Udp(port, 2, b"vip")))


def announcement(mac: Mac, address: Ip) -> Packet:
    return Packet(mac, BROADCAST, Arp(1, mac, address, NO_MAC, address))


async def test_questions_for_a_virtual_address_go_to_its_claimants_only(fabric: Fabric) -> None:
    a, _, c = redundant(fabric)
    await fabric.realise()
    asked = await fabric.send("a", arp_request(a, VIP))
    assert "b" in {name for name, _ in asked}
    assert "c" in {name for name, _ in asked}
    assert {got.payload for _, got in asked} == {arp_request(a, VIP).payload}
    asked = await fabric.send("a", solicitation(a, VIP6))
    assert {"b", "c"} <= {name for name, _ in asked}
    probe = replace(arp_request(a, VIP), dst=c.mac)
    assert "b" in {name for name, _ in await fabric.send("a", probe)}


async def test_questions_for_a_virtual_address_leave_for_hosts_of_claimants_alone(fabric: Fabric) -> None:
    a, _, _ = redundant(fabric)
    fabric.change("c", pairs=())
    await fabric.realise()
    assert {name for name, _ in await fabric.send("a", arp_request(a, VIP))} == {"b"}
    assert {name for name, _ in await fabric.send("a", solicitation(a, VIP6))} == {"b"}


async def test_announcement_of_a_virtual_address_reaches_the_whole_network(fabric: Fabric) -> None:
    redundant(fabric, VMAC)
    await fabric.realise()
    assert await fabric.reached("b", announcement(VMAC, VIP)) == {"a", "c", "d"}
    assert await fabric.reached("d", announcement(VMAC, VIP)) == set()


async def test_virtual_mac_follows_the_claim(fabric: Fabric) -> None:
    a, b, c = redundant(fabric, VMAC)
    await fabric.realise()
    assert await fabric.reached("a", to_vip(a, VMAC, 1)) == {"b", "c"}
    for port, owner in enumerate((b, c, b), start=2):
        fabric.wanted.owners = {VIP: owner.id}
        await fabric.realise()
        name = "b" if owner is b else "c"
        assert await fabric.reached("a", to_vip(a, VMAC, port)) == {name}
        assert await fabric.reached("d", to_vip(fabric.wanted.nics["d"], VMAC, port)) == {name}


async def test_virtual_mac_without_its_owner_is_every_claimants_again(fabric: Fabric) -> None:
    a, b, _ = redundant(fabric, VMAC)
    fabric.add("e", nic(5, "n", "two", groups=("g",), pairs=(pair(f"{VIP}/32", VMAC),)))
    fabric.wanted.owners = {VIP: b.id}
    await fabric.realise()
    assert await fabric.reached("a", to_vip(a, VMAC, 1)) == {"b"}
    fabric.change("b", pairs=())
    await fabric.realise()
    assert await fabric.reached("a", to_vip(a, VMAC, 2)) == {"c", "e"}


async def test_own_mac_that_another_claims_still_reaches_its_port(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    fabric.change("b", pairs=(pair(f"{VIP}/32", c.mac),))
    fabric.wanted.owners = {VIP: b.id}
    await fabric.realise()
    assert await fabric.reached("a", to_vip(a, c.mac)) == {"b", "c"}


async def test_groups_judge_virtual_addresses_like_others(fabric: Fabric) -> None:
    a, b, _ = redundant(fabric, VMAC)
    stranger = fabric.add("s", nic(6, "n", "two", groups=("closed",)))
    fabric.wanted.rule("closed", "egress")
    fabric.wanted.owners = {VIP: b.id}
    await fabric.realise()
    assert await fabric.reached("s", to_vip(stranger, VMAC)) == set()
    assert await fabric.reached("a", to_vip(a, VMAC, 9)) == {"b"}
    mine = Packet(VMAC, stranger.mac, Ipv4(VIP, stranger.ipv4, Udp(3, 4, b"out")))
    assert await fabric.reached("b", mine) == set()
    assert await fabric.reached("b", udp(b, stranger)) == set()


async def test_pair_lets_out_what_it_says_and_nothing_else(fabric: Fabric) -> None:
    _, b, _ = redundant(fabric, VMAC)
    a = fabric.wanted.nics["a"]
    await fabric.realise()

    def four(mac: Mac, ip: Ip) -> Packet:
        return Packet(mac, a.mac, Ipv4(ip, a.ipv4, Udp(1, 2, b"as")))

    def six(mac: Mac, ip: Ip) -> Packet:
        return Packet(mac, a.mac, Ipv6(ip, a.ipv6, Udp(1, 2, b"as")))

    assert await fabric.reached("b", four(VMAC, VIP)) == {"a"}
    assert await fabric.reached("b", six(VMAC, VIP6)) == {"a"}
    assert await fabric.reached("b", four(b.mac, VIP)) == set()
    assert await fabric.reached("b", six(b.mac, VIP6)) == set()
    assert await fabric.reached("b", four(VMAC, b.ipv4)) == set()
    advertised = Nd(136, VIP6, target_mac=VMAC, flags=0x20000000)
    claim = Packet(VMAC, Mac("33:33:00:00:00:01"), Ipv6(VIP6, Ip("ff02::1"), advertised, ttl=255))
    assert await fabric.reached("b", claim) == {"a", "c", "d"}


def told(fabric: FakeFabric, host: str) -> list[Claim]:
    """What the switch has told the agent since the last time."""
    switch = fabric.switches[host]
    heard = [Claim(*msgspec.msgpack.decode(packet.userdata)) for packet in switch.packet_ins]
    switch.packet_ins.clear()
    return heard


async def test_agent_is_told_of_claims_until_they_are_known() -> None:
    async with open_fabric("fake") as fabric:
        assert isinstance(fabric, FakeFabric)
        _, b, _ = redundant(fabric, VMAC)
        await fabric.realise()
        claim4, claim6 = Claim(b.id, VIP, VMAC), Claim(b.id, VIP6, VMAC)
        advertised = Ipv6(VIP6, Ip("ff02::1"), Nd(136, VIP6, target_mac=VMAC), ttl=255)
        says = [
            (announcement(VMAC, VIP), claim4),
            (Packet(VMAC, BROADCAST, Arp(2, VMAC, VIP, NO_MAC, VIP)), claim4),
            (arp_request(replace(b, mac=VMAC), Ip("10.0.0.77"), sender_ip=VIP), claim4),
            (Packet(VMAC, Mac("33:33:00:00:00:01"), advertised), claim6),
            (solicitation(replace(b, mac=VMAC), Ip("fd00::77"), VIP6), claim6),
        ]
        for packet, claim in says:
            await fabric.send("b", packet)
            assert told(fabric, "one") == [claim], packet
        await fabric.send("b", arp_request(b, Ip("10.0.0.77")))
        await fabric.send("b", Packet(VMAC, b.mac, Ipv4(VIP, b.ipv4, Icmp(8))))
        assert told(fabric, "one") == []

        fabric.wanted.owners = {VIP: b.id, VIP6: b.id}
        await fabric.realise()
        for packet, _ in says:
            await fabric.send("b", packet)
        assert told(fabric, "one") == []
        await fabric.send("c", announcement(VMAC, VIP))
        assert len(told(fabric, "two")) == 1


async def test_network_of_pairs_is_no_claim() -> None:
    async with open_fabric("fake") as fabric:
        assert isinstance(fabric, FakeFabric)
        small_world(fabric)
        fabric.change("b", pairs=(pair("10.0.0.0/24", VMAC),))
        await fabric.realise()
        await fabric.send("b", announcement(VMAC, VIP))
        assert told(fabric, "one") == []


async def test_many_pairs_do_not_blow_up_flows() -> None:
    """CVE-2014-3555, and its kin: pairs multiplied with members and rules brought hosts and the API down."""

    async def counts(members: int, pairs: int, rules: int) -> tuple[int, int]:
        """Flows of a host with two of the members, and how many rows were derived for the last pair to come."""
        async with open_fabric("fake") as fabric:
            small_world(fabric)
            for number in range(rules):
                fabric.wanted.rule("g", "ingress", protocol=6, port_min=number, remote_group="g")
            for number in range(10, 10 + members):
                all_pairs = tuple(pair(f"10.9.0.{n}/32", f"00:00:5e:00:01:{n:02x}") for n in range(pairs))
                host = "one" if number < 12 else "two"
                fabric.add(f"m{number}", nic(number, "n", host, groups=("g",), pairs=all_pairs))
            await fabric.realise()
            deriver = fabric.agents["one"].deriver
            flows, derived = len(deriver.wanted), deriver.derived
            fabric.change("c", pairs=(pair("10.9.0.0/32", "00:00:5e:00:01:00"),))
            await fabric.realise()
            return flows, deriver.derived - derived

    plain, _ = await counts(members=20, pairs=0, rules=5)
    one, _ = await counts(members=20, pairs=1, rules=5)
    ten, derived = await counts(members=20, pairs=10, rules=5)
    assert ten - one == 9 * (one - plain), "flows grow with pairs"
    assert one - plain <= 2 * 10 + 4, "of two ports of this host, and of the pair"

    more_members, derived_more = await counts(members=40, pairs=10, rules=5)
    fewer, _ = await counts(members=20, pairs=0, rules=5)
    more, _ = await counts(members=40, pairs=0, rules=5)
    assert more_members - ten == more - fewer, "members cost the same with pairs and without"
    assert derived_more == derived <= 8, "one more claimant is no work for the others"

    more_rules, _ = await counts(members=20, pairs=10, rules=25)
    plain_rules, _ = await counts(members=20, pairs=0, rules=25)
    assert more_rules - ten == plain_rules - plain, "rules cost the same with pairs and without"


async def test_more_claimants_than_fail_over_get_no_more_packets_than_the_bound() -> None:
    async with open_fabric("fake") as fabric:
        a, _, _ = small_world(fabric)
        for number in range(10, 90):
            fabric.add(f"m{number}", nic(number, "n", "one", groups=("g",), pairs=(pair(f"{VIP}/32", VMAC),)))
        await fabric.realise()
        assert len(await fabric.reached("a", to_vip(a, VMAC))) == 64
        fabric.wanted.owners = {VIP: fabric.wanted.nics["m89"].id}
        await fabric.realise()
        assert await fabric.reached("a", to_vip(a, VMAC, 2)) == {"m89"}
