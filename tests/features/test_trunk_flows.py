# SPDX-License-Identifier: Apache-2.0
"""Subports in packets: tagged frames of a trunk's interface are theirs, and nobody else's."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest_asyncio

from alcor.base.net import Mac
from alcor.testing.packet import Arp, Nd, Packet
from tests.agent.fabric import Fabric, open_fabric
from tests.agent.wanted import Nic, nic
from tests.features.packets import (
    STRANGER,
    arp_request,
    echo,
    echo_reply,
    small_world,
    solicitation,
    syn,
    syn_ack,
    to_all,
    udp,
)

FIRST = 0x8000  # number of a subport


@pytest_asyncio.fixture
async def fabric() -> AsyncIterator[Fabric]:
    """On fake switches: sockets of a real machine do not show tags. Those are in tests/agent/test_trunk_on_ovs.py."""
    async with open_fabric("fake") as fabric:
        yield fabric


def subport(fabric: Fabric, name: str, number: int, network: str, of: str, **fields: object) -> Nic:
    """A port of `of`'s trunk; its tag follows from its number."""
    parent = fabric.wanted.nics[of]
    given = {
        "groups": ("g",),
        "trunk_port": parent.id,
        "vlan": 100 + number,
        "number": FIRST + number,
    } | fields
    return fabric.add(name, replace(nic(number, network, parent.host), **given))  # type: ignore[arg-type]  # a keyword each


async def trunk_world(fabric: Fabric) -> tuple[Nic, Nic, Nic]:
    """The small world, and network `m`: s is a subport of a there, and d and e plain ports on host one and two."""
    small_world(fabric)
    fabric.wanted.vnis["m"] = 5002
    s = subport(fabric, "s", 11, "m", "a")
    d = fabric.add("d", nic(12, "m", "one", groups=("g",)))
    e = fabric.add("e", nic(13, "m", "two", groups=("g",)))
    await fabric.realise()
    return s, d, e


async def test_subport_talks_with_its_network_on_this_host_and_another(fabric: Fabric) -> None:
    s, d, e = await trunk_world(fabric)
    for name, other in (("d", d), ("e", e)):
        assert await fabric.reached("s", echo(s, other)) == {name}
        assert await fabric.reached(name, echo_reply(other, s)) == {"s"}


async def test_subport_is_reached_first_by_others(fabric: Fabric) -> None:
    s, d, e = await trunk_world(fabric)
    assert await fabric.reached("d", udp(d, s)) == {"s"}
    assert await fabric.reached("e", udp(e, s)) == {"s"}


async def test_untagged_frames_are_of_the_trunk_s_port(fabric: Fabric) -> None:
    await trunk_world(fabric)
    a, c = fabric.wanted.nics["a"], fabric.wanted.nics["c"]
    assert await fabric.reached("a", echo(a, c)) == {"c"}
    assert await fabric.reached("c", echo_reply(c, a)) == {"a"}


async def test_networks_of_a_trunk_do_not_mix(fabric: Fabric) -> None:
    s, d, _ = await trunk_world(fabric)
    a, c = fabric.wanted.nics["a"], fabric.wanted.nics["c"]
    assert await fabric.send("s", replace(echo(s, c), dst=c.mac)) == []
    assert await fabric.send("a", echo(a, d)) == []
    assert await fabric.reached("s", to_all(s)) == {"d", "e"}
    assert await fabric.reached("a", to_all(a)) == {"b", "c"}
    assert await fabric.reached("d", to_all(d)) == {"s", "e"}
    assert await fabric.reached("c", to_all(c)) == {"a", "b"}


async def test_unknown_tag_and_second_tag_are_dropped(fabric: Fabric) -> None:
    s, d, _ = await trunk_world(fabric)
    assert await fabric.send("a", replace(echo(s, d), vlan=99)) == []
    inside = replace(echo(s, d), vlan=200).build()[14:]
    assert await fabric.send("s", Packet(s.mac, d.mac, inside, kind=0x8100)) == []


async def test_subport_speaks_only_with_its_own_addresses(fabric: Fabric) -> None:
    s, d, _ = await trunk_world(fabric)
    a = fabric.wanted.nics["a"]
    assert await fabric.send("s", replace(echo(s, d), src=STRANGER)) == []
    assert await fabric.send("s", replace(echo(a, d), src=s.mac)) == []


async def test_subport_s_questions_are_answered_with_its_tag(fabric: Fabric) -> None:
    s, d, e = await trunk_world(fabric)
    ((at, answer),) = await fabric.send("s", arp_request(s, e.ipv4))
    assert at == "s"
    assert isinstance(answer.payload, Arp)
    assert answer.payload.sender_mac == e.mac
    ((at, answer),) = await fabric.send("s", solicitation(s, e.ipv6))
    assert at == "s"
    assert isinstance(answer.payload.payload, Nd)  # type: ignore[union-attr]  # an IPv6 packet
    ((at, answer),) = await fabric.send("d", arp_request(d, s.ipv4))
    assert (at, answer.src) == ("d", s.mac)


async def test_subport_has_groups_and_connections_of_its_own(fabric: Fabric) -> None:
    """With the addresses and ports of a connection of its trunk's port, on another network."""
    small_world(fabric)
    fabric.wanted.vnis["m"] = 5002
    fabric.wanted.rule("out", "egress")
    a, c = fabric.wanted.nics["a"], fabric.wanted.nics["c"]
    s = subport(fabric, "s", 11, "m", "a", groups=("out",), addresses=a.addresses)
    e = fabric.add("e", nic(13, "m", "two", groups=("g",), addresses=c.addresses))
    await fabric.realise()
    assert await fabric.reached("a", syn(a, c, 80)) == {"c"}
    assert await fabric.reached("c", syn_ack(c, a, 80)) == {"a"}
    assert await fabric.send("e", syn_ack(e, s, 80)) == [], "s has asked for nothing"
    assert await fabric.send("e", udp(e, s)) == []


async def test_subports_of_one_trunk_reach_each_other(fabric: Fabric) -> None:
    s, _, _ = await trunk_world(fabric)
    t = subport(fabric, "t", 14, "m", "a")
    await fabric.realise()
    assert await fabric.reached("s", echo(s, t)) == {"t"}
    assert await fabric.reached("t", echo_reply(t, s)) == {"s"}
    assert await fabric.reached("s", to_all(s)) == {"t", "d", "e"}


async def test_subport_and_its_trunk_s_port_on_one_network_reach_each_other(fabric: Fabric) -> None:
    small_world(fabric)
    a, b = fabric.wanted.nics["a"], fabric.wanted.nics["b"]
    s = subport(fabric, "s", 11, "n", "a")
    await fabric.realise()
    assert await fabric.reached("s", echo(s, a)) == {"a"}
    assert await fabric.reached("a", echo_reply(a, s)) == {"s"}
    assert await fabric.reached("a", udp(a, s)) == {"s"}
    assert await fabric.reached("s", to_all(s)) == {"a", "b", "c"}
    assert await fabric.reached("a", to_all(a)) == {"s", "b", "c"}
    assert await fabric.reached("b", to_all(b)) == {"a", "s", "c"}
    ((at, answer),) = await fabric.send("a", arp_request(a, s.ipv4))
    assert (at, answer.src) == ("a", s.mac)


async def test_subport_without_port_security_speaks_as_it_likes(fabric: Fabric) -> None:
    await trunk_world(fabric)
    s = fabric.change("s", port_security=False, groups=())
    e = fabric.change("e", port_security=False, groups=())
    await fabric.realise()
    assert await fabric.reached("s", replace(echo(s, e), src=Mac("fa:16:3e:77:77:77"))) == {"e"}
    inside = replace(echo(s, e), vlan=200).build()[14:]
    assert await fabric.send("s", Packet(s.mac, e.mac, inside, kind=0x8100)) == []


async def test_subport_that_is_added_and_removed_later_leaves_its_trunk_as_it_is(fabric: Fabric) -> None:
    s, d, _ = await trunk_world(fabric)
    a, c = fabric.wanted.nics["a"], fabric.wanted.nics["c"]
    assert await fabric.reached("a", echo(a, c)) == {"c"}
    t = subport(fabric, "t", 14, "m", "a")
    await fabric.realise()
    assert await fabric.reached("t", echo(t, d)) == {"d"}
    del fabric.wanted.nics["t"]
    await fabric.realise()
    frame = replace(echo(t, d), vlan=t.vlan)
    assert await fabric.send("a", frame) == []
    assert await fabric.reached("c", echo_reply(c, a)) == {"a"}
    assert await fabric.reached("s", echo(s, d)) == {"d"}
