# SPDX-License-Identifier: Apache-2.0
"""Security groups in packets: who may open a connection, what follows from it, and what a change takes away at once."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from alcor.base.net import Ip
from alcor.testing.packet import Icmp, Ipv4, Ipv6, Packet, Udp
from tests.agent.fabric import Fabric
from tests.agent.wanted import Nic, nic
from tests.features.packets import (
    ack,
    answer_ack,
    echo,
    echo6,
    echo_reply,
    everything_within,
    ip4,
    ip6,
    small_world,
    syn,
    syn_ack,
    udp,
    udp6,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


def open_world(fabric: Fabric, *groups: str) -> tuple[Nic, Nic]:
    """A client on host one who may say everything, and a server on host two in these groups."""
    fabric.wanted.vnis["n"] = 5001
    for version in (4, 6):
        fabric.wanted.rule("clients", "egress", version)
    client = fabric.add("client", nic(1, "n", "one", groups=("clients",)))
    server = fabric.add("server", nic(3, "n", "two", groups=groups))
    return client, server


async def test_default_group_lets_members_in_and_strangers_out(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    everything_within(fabric, "other")
    stranger = fabric.add("stranger", nic(4, "n", "two", groups=("other",)))
    await fabric.realise()
    for to in (b, c):
        [name] = await fabric.reached("a", udp(a, to))
        assert fabric.wanted.nics[name] == to
        assert await fabric.reached("a", udp6(a, to)) == {name}
    for to in (a, c):
        assert await fabric.send("stranger", udp(stranger, to)) == []
        assert await fabric.send("stranger", udp6(stranger, to)) == []
        assert await fabric.send("stranger", syn(stranger, to, 22)) == []


async def test_port_in_no_group_is_reached_by_nobody_and_reaches_nobody(fabric: Fabric) -> None:
    a, _, _ = small_world(fabric)
    lone = fabric.add("lone", nic(4, "n", "one"))
    await fabric.realise()
    assert await fabric.send("a", udp(a, lone)) == []
    assert await fabric.send("lone", udp(lone, a)) == []


async def test_reply_passes_and_a_connection_of_the_other_side_does_not(fabric: Fabric) -> None:
    client, server = open_world(fabric, "web")
    fabric.wanted.rule("web", "ingress", protocol=6, port_min=80, port_max=80)
    await fabric.realise()
    assert await fabric.send("server", syn_ack(server, client, 80)) == []
    assert await fabric.reached("client", syn(client, server, 80)) == {"server"}
    assert await fabric.reached("server", syn_ack(server, client, 80)) == {"client"}
    assert await fabric.reached("client", ack(client, server, 80)) == {"server"}
    assert await fabric.reached("server", answer_ack(server, client, 80)) == {"client"}
    assert await fabric.send("server", syn(server, client, 80)) == []
    assert await fabric.send("client", syn(client, server, 81)) == []


async def test_ports_are_open_as_far_as_the_range_goes(fabric: Fabric) -> None:
    client, server = open_world(fabric, "range")
    fabric.wanted.rule("range", "ingress", protocol=6, port_min=1000, port_max=2003)
    fabric.wanted.rule("range", "ingress", 6, protocol=17, port_min=53, port_max=53)
    await fabric.realise()
    for port, expected in (
        (999, set()),
        (1000, {"server"}),
        (1777, {"server"}),
        (2003, {"server"}),
        (2004, set()),
    ):
        assert await fabric.reached("client", syn(client, server, port)) == expected, port
    assert await fabric.send("client", udp(client, server, 1000)) == []
    assert await fabric.reached("client", udp6(client, server, 53)) == {"server"}
    assert await fabric.send("client", udp6(client, server, 54)) == []
    assert await fabric.send("client", udp(client, server, 53)) == []


async def test_icmp_rules_look_at_type_and_code(fabric: Fabric) -> None:
    client, server = open_world(fabric, "icmp")
    fabric.wanted.rule("icmp", "ingress", protocol=1, port_min=8, port_max=0)
    await fabric.realise()
    assert await fabric.reached("client", echo(client, server)) == {"server"}
    assert await fabric.reached("server", echo_reply(server, client)) == {"client"}
    timestamp = ip4(client, server, Icmp(13, 0, 0x10001, b"\0" * 12))
    assert await fabric.send("client", timestamp) == []
    assert await fabric.send("client", echo6(client, server)) == []
    fabric.wanted.rule("icmp", "ingress", 6, protocol=58)
    await fabric.realise()
    assert await fabric.reached("client", echo6(client, server)) == {"server"}


async def test_error_about_an_allowed_packet_comes_back(fabric: Fabric) -> None:
    client, server = open_world(fabric, "dns")
    fabric.wanted.rule("dns", "ingress", protocol=17, port_min=53, port_max=53)
    await fabric.realise()
    asked, other = udp(client, server, 53), udp(client, server, 53, source=41000)
    assert await fabric.reached("client", asked) == {"server"}
    assert await fabric.reached("server", unreachable(server, client, asked)) == {"client"}
    assert await fabric.send("server", unreachable(server, client, other)) == []


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("order", [1, -1], ids=["in order", "last first"])
async def test_fragments_follow_the_rules_of_their_datagram(fabric: Fabric, version: int, order: int) -> None:
    """A later fragment tells no ports, and must neither be lost under a rule with ports nor pass without its first."""
    client, server = open_world(fabric, "dns")
    rule = fabric.wanted.rule("dns", "ingress", version, protocol=17, port_min=53, port_max=53)
    await fabric.realise()
    there, back = (client, server, version), (server, client, version)
    for port, passing, number in (
        (53, 2, 0),
        (53, 2, 1),
        (54, 0, 2),
        (54, 0, 2),
    ):  # the last overlaps what waits
        parts = list(fragments(*there, (40000, port), number))[::order]
        assert await lengths_got(fabric, "client", parts) == sorted(
            len(part.build()) for part in parts[:passing]
        )
        parts = list(fragments(*back, (port, 40000), number))[::order]
        assert len(await lengths_got(fabric, "server", parts)) == passing

    del fabric.wanted.rules[rule]
    await fabric.realise()
    assert await lengths_got(fabric, "client", list(fragments(*there, (40000, 53), 9))[::order]) == []
    assert await lengths_got(fabric, "server", list(fragments(*back, (53, 40000), 9))[::order]) == []


async def test_any_protocol_is_any(fabric: Fabric) -> None:
    client, server = open_world(fabric, "any")
    fabric.wanted.rule("any", "ingress")
    await fabric.realise()
    for number in (47, 112, 132):
        assert await fabric.reached("client", ip4_of(client, server, number)) == {"server"}
    assert await fabric.reached("client", udp(client, server)) == {"server"}
    assert await fabric.send("client", udp6(client, server)) == []


async def test_protocol_by_number_is_only_that(fabric: Fabric) -> None:
    client, server = open_world(fabric, "vrrp")
    fabric.wanted.rule("vrrp", "ingress", protocol=112)
    await fabric.realise()
    assert await fabric.reached("client", ip4_of(client, server, 112)) == {"server"}
    assert await fabric.send("client", ip4_of(client, server, 47)) == []


async def test_remote_prefix_is_about_addresses(fabric: Fabric) -> None:
    client, server = open_world(fabric, "near")
    far = fabric.add(
        "far", nic(9, "n", "one", addresses=(Ip("10.0.9.9"), Ip("fd00:9::9")), groups=("clients",))
    )
    fabric.wanted.rule("near", "ingress", remote_prefix="10.0.0.0/24", protocol=17)
    fabric.wanted.rule("near", "ingress", 6, remote_prefix="fd00::/64")
    await fabric.realise()
    assert await fabric.reached("client", udp(client, server)) == {"server"}
    assert await fabric.reached("client", udp6(client, server)) == {"server"}
    assert await fabric.send("far", udp(far, server)) == []
    assert await fabric.send("far", udp6(far, server)) == []
    key = fabric.wanted.rule("near", "ingress", remote_prefix="0.0.0.0/0", protocol=17)
    await fabric.realise()
    assert await fabric.reached("far", udp(far, server)) == {"server"}
    del fabric.wanted.rules[key]
    await fabric.realise()
    assert await fabric.send("far", udp(far, server)) == []


async def test_egress_rules_say_whom_a_port_may_call(fabric: Fabric) -> None:
    fabric.wanted.vnis["n"] = 5001
    fabric.wanted.rule("caged", "egress", protocol=17, remote_prefix="10.0.0.3/32")
    fabric.wanted.rule("caged", "egress", protocol=6, port_min=443, port_max=443, remote_group="open")
    fabric.wanted.rule("open", "ingress")
    caged = fabric.add("caged", nic(1, "n", "one", groups=("caged",)))
    near = fabric.add("near", nic(2, "n", "one", groups=("open",)))
    far = fabric.add("far", nic(3, "n", "two", groups=("open",)))
    await fabric.realise()
    assert await fabric.reached("caged", udp(caged, far)) == {"far"}
    assert await fabric.send("caged", udp(caged, near)) == []
    assert await fabric.reached("caged", syn(caged, near, 443)) == {"near"}
    assert await fabric.reached("near", syn_ack(near, caged, 443)) == {"caged"}
    assert await fabric.reached("caged", syn(caged, far, 443)) == {"far"}
    assert await fabric.reached("far", syn_ack(far, caged, 443)) == {"caged"}
    assert await fabric.send("caged", syn(caged, far, 80)) == []
    assert await fabric.send("far", udp(far, caged)) == []


async def test_rules_of_several_groups_add_up(fabric: Fabric) -> None:
    client, server = open_world(fabric, "web", "dns")
    fabric.wanted.rule("web", "ingress", protocol=6, port_min=80, port_max=80, remote_group="clients")
    fabric.wanted.rule("dns", "ingress", protocol=17, port_min=53, port_max=53)
    fabric.wanted.rule("dns", "ingress", protocol=17, port_min=53, port_max=53, remote_group="clients")
    await fabric.realise()
    assert await fabric.reached("client", syn(client, server, 80)) == {"server"}
    assert await fabric.reached("client", udp(client, server, 53)) == {"server"}
    assert await fabric.send("client", udp(client, server, 80)) == []
    fabric.change("server", groups=("dns",))
    await fabric.realise()
    assert await fabric.send("client", syn(client, server, 80, source=41000)) == []
    assert await fabric.reached("client", udp(client, server, 53)) == {"server"}


async def test_rule_that_goes_ends_its_connections_and_no_others(fabric: Fabric) -> None:
    client, server = open_world(fabric, "web")
    fabric.wanted.rule("web", "ingress", protocol=6, port_min=80, port_max=80)
    doomed = fabric.wanted.rule("web", "ingress", protocol=6, port_min=22, port_max=22)
    await fabric.realise()
    for port in (80, 22):
        await establish(fabric, client, server, port)
    del fabric.wanted.rules[doomed]
    await fabric.realise()
    assert await fabric.send("client", ack(client, server, 22)) == []
    assert await fabric.send("server", answer_ack(server, client, 22)) == []
    assert await fabric.reached("client", ack(client, server, 80)) == {"server"}
    assert await fabric.reached("server", answer_ack(server, client, 80)) == {"client"}


async def test_egress_rule_that_goes_ends_the_connections_that_it_allowed(fabric: Fabric) -> None:
    client, server = open_world(fabric, "web")
    fabric.wanted.rule("web", "ingress")
    await fabric.realise()
    await establish(fabric, client, server, 80)
    fabric.wanted.rules = {key: rule for key, rule in fabric.wanted.rules.items() if rule.group != "clients"}
    await fabric.realise()
    assert await fabric.send("client", ack(client, server, 80)) == []
    assert await fabric.send("server", answer_ack(server, client, 80)) == []


async def test_member_that_leaves_loses_its_connections_and_others_keep_theirs(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    fabric.wanted.rule("outside", "egress")
    await fabric.realise()
    for name, member in (("a", a), ("b", b)):
        assert await fabric.reached(name, syn(member, c, 80)) == {"c"}
        assert await fabric.reached("c", syn_ack(c, member, 80)) == {name}
        assert await fabric.reached(name, ack(member, c, 80)) == {"c"}
    fabric.change("a", groups=("outside",))
    await fabric.realise()
    assert await fabric.send("a", ack(a, c, 80)) == []
    assert await fabric.send("c", answer_ack(c, a, 80)) == []
    assert await fabric.reached("b", ack(b, c, 80)) == {"c"}
    assert await fabric.reached("c", answer_ack(c, b, 80)) == {"b"}
    fabric.change("a", groups=("g",))
    await fabric.realise()
    assert await fabric.reached("a", ack(a, c, 80)) == {"c"}


async def test_rule_with_a_protocol_that_nothing_has_harms_no_other(fabric: Fabric) -> None:
    client, server = open_world(fabric, "web")
    fabric.wanted.rule("web", "ingress", protocol=0)
    fabric.wanted.rule("web", "ingress", protocol=6)
    await fabric.realise()
    assert await fabric.reached("client", syn(client, server, 80)) == {"server"}
    assert await fabric.send("client", udp(client, server)) == []


async def test_flows_grow_with_members_and_not_with_their_pairs(fabric: Fabric) -> None:
    small_world(fabric)
    agent = fabric.agents["one"]
    counts = []
    for number in range(10, 16):
        fabric.add(f"m{number}", nic(number, "n", "two", groups=("g",)))
        await fabric.realise()
        counts.append(len(agent.deriver.wanted))
    growth = [after - before for before, after in pairwise(counts)]
    assert len(set(growth)) == 1, growth
    assert growth[0] <= 6
    assert not any("rules" in scope for scope in agent.rows.scopes)


async def establish(fabric: Fabric, client: Nic, server: Nic, port: int) -> None:
    assert await fabric.reached("client", syn(client, server, port)) == {"server"}
    assert await fabric.reached("server", syn_ack(server, client, port)) == {"client"}
    assert await fabric.reached("client", ack(client, server, port)) == {"server"}
    assert await fabric.reached("server", answer_ack(server, client, port)) == {"client"}


def unreachable(sender: Nic, to: Nic, about: Packet) -> Packet:
    """ICMP port unreachable, with the beginning of the packet that it is about."""
    return ip4(sender, to, Icmp(3, 3, 0, about.build()[14:42]))


def ip4_of(sender: Nic, to: Nic, protocol: int) -> Packet:
    return Packet(
        sender.mac, to.mac, Ipv4(sender.ipv4, to.ipv4, b"\x20\x00\x86\xdd" + b"\0" * 28, proto=protocol)
    )


async def lengths_got(fabric: Fabric, sender: str, packets: list[Packet]) -> list[int]:
    """Of all packets that arrived anywhere."""
    return sorted([len(got.build()) for packet in packets for _, got in await fabric.send(sender, packet)])


def fragments(sender: Nic, to: Nic, version: int, ports: tuple[int, int], number: int) -> Iterator[Packet]:
    """A UDP datagram of 2,000 bytes in two fragments."""
    datagram = Udp(*ports, bytes(1992))
    if version == 4:
        body, cut = ip4(sender, to, datagram).build()[34:], 1280
        for at, piece in ((0, body[:cut]), (cut, body[cut:])):
            ip: Ipv4 | Ipv6 = Ipv4(
                sender.ipv4, to.ipv4, piece, proto=17, ident=number, fragment=at // 8, more=not at
            )
            yield Packet(sender.mac, to.mac, ip)
        return
    body, cut = ip6(sender, to, datagram).build()[54:], 1280
    for at, piece in ((0, body[:cut]), (cut, body[cut:])):
        header = bytes([17, 0]) + (at | (not at)).to_bytes(2, "big") + number.to_bytes(4, "big")
        ip = Ipv6(sender.ipv6, to.ipv6, piece, proto=17, extensions=header, first=44)
        yield Packet(sender.mac, to.mac, ip)
