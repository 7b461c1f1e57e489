# SPDX-License-Identifier: Apache-2.0
"""Stateless groups and address groups in packets."""

import pytest

from alcor.base.net import Ip
from alcor.testing.packet import Icmp
from tests.agent.fabric import Fabric
from tests.agent.wanted import Nic, nic
from tests.features.packets import echo, echo6, echo_reply, ip4, syn, syn_ack, udp, udp6
from tests.features.test_security_group_flows import fragments, lengths_got, open_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


def stateless_world(fabric: Fabric, host: str = "two") -> tuple[Nic, Nic]:
    """A client in a stateful group that may say and hear everything, and a server in the stateless group `bare`."""
    fabric.wanted.vnis["n"] = 5001
    fabric.wanted.stateless.add("bare")
    for version in (4, 6):
        fabric.wanted.rule("clients", "egress", version)
        fabric.wanted.rule("clients", "ingress", version)
    client = fabric.add("client", nic(1, "n", "one", groups=("clients",)))
    server = fabric.add("server", nic(3, "n", host, groups=("bare",)))
    return client, server


@pytest.mark.parametrize("host", ["one", "two"])
async def test_stateless_group_lets_no_answer_out_without_a_rule_for_it(fabric: Fabric, host: str) -> None:
    client, server = stateless_world(fabric, host)
    fabric.wanted.rule("bare", "ingress", protocol=6, port_min=80, port_max=81)
    fabric.wanted.rule("bare", "ingress", protocol=1, port_min=8)
    fabric.wanted.rule("bare", "ingress", 6, protocol=58)
    await fabric.realise()
    assert await fabric.reached("client", syn(client, server, 80)) == {"server"}
    assert await fabric.reached("client", syn(client, server, 81)) == {"server"}
    assert await fabric.send("client", syn(client, server, 82)) == []
    assert await fabric.send("client", udp(client, server, 80)) == []
    assert await fabric.send("server", syn_ack(server, client, 80)) == []
    assert await fabric.reached("client", echo(client, server)) == {"server"}
    assert await fabric.send("server", echo_reply(server, client)) == []
    assert await fabric.send("client", ip4(client, server, Icmp(13, 0, 0x10001, b"\0" * 12))) == []
    assert await fabric.reached("client", echo6(client, server)) == {"server"}

    fabric.wanted.rule("bare", "egress", protocol=6)
    fabric.wanted.rule("bare", "egress", protocol=1, port_min=0, port_max=0)
    await fabric.realise()
    assert await fabric.reached("server", syn_ack(server, client, 80)) == {"client"}
    assert await fabric.reached("server", echo_reply(server, client)) == {"client"}
    assert await fabric.send("server", udp(server, client)) == []


async def test_answer_alone_comes_through_a_stateless_group_that_allows_it(fabric: Fabric) -> None:
    """No connection is looked for: what a rule allows passes as it is, first packet or not."""
    client, server = stateless_world(fabric)
    fabric.change("client", groups=("bare",))
    fabric.wanted.rule("bare", "ingress", remote_group="bare")
    fabric.wanted.rule("bare", "egress", remote_prefix="10.0.0.1/32")
    await fabric.realise()
    assert await fabric.reached("server", syn_ack(server, client, 80)) == {"client"}
    assert await fabric.send("client", syn(client, server, 80)) == []
    assert await fabric.send("server", udp6(server, client)) == []


async def test_fragments_pass_a_stateless_rule_without_ports_only(fabric: Fabric) -> None:
    client, server = stateless_world(fabric)
    with_ports = fabric.wanted.rule("bare", "ingress", protocol=17, port_min=53, port_max=53)
    await fabric.realise()
    parts = list(fragments(client, server, 4, (40000, 53), 7))
    assert await lengths_got(fabric, "client", parts) == []
    del fabric.wanted.rules[with_ports]
    fabric.wanted.rule("bare", "ingress", protocol=17)
    await fabric.realise()
    parts = list(fragments(client, server, 4, (40000, 53), 8))
    assert await lengths_got(fabric, "client", parts) == sorted(len(part.build()) for part in parts)


async def test_group_made_stateful_tracks_again(fabric: Fabric) -> None:
    client, server = stateless_world(fabric)
    fabric.wanted.rule("bare", "ingress", protocol=6)
    await fabric.realise()
    assert await fabric.reached("client", syn(client, server, 80)) == {"server"}
    assert await fabric.send("server", syn_ack(server, client, 80)) == []
    fabric.wanted.stateless.clear()
    await fabric.realise()
    assert await fabric.reached("client", syn(client, server, 80, source=41000)) == {"server"}
    assert await fabric.reached("server", syn_ack(server, client, 80, source=41000)) == {"client"}


@pytest.mark.parametrize("is_stateless", [False, True], ids=["stateful", "stateless"])
async def test_address_group_opens_to_its_addresses_as_they_come_and_go(
    fabric: Fabric, is_stateless: bool
) -> None:
    client, server = open_world(fabric, "web")
    other = fabric.add(
        "other", nic(9, "n", "one", addresses=(Ip("10.0.9.9"), Ip("fd00:9::9")), groups=("clients",))
    )
    if is_stateless:
        fabric.wanted.stateless.add("web")
    fabric.wanted.address_groups["near"] = ("10.0.0.1/32", "10.0.0.0/24", "fd00::/64")
    fabric.wanted.rule("web", "ingress", protocol=6, port_min=80, port_max=80, remote_addresses="near")
    fabric.wanted.rule("web", "ingress", protocol=17, remote_addresses="near")
    fabric.wanted.rule("web", "ingress", 6, remote_addresses="near")
    await fabric.realise()
    assert await fabric.reached("client", syn(client, server, 80)) == {"server"}
    assert await fabric.reached("client", udp(client, server)) == {"server"}
    assert await fabric.reached("client", udp6(client, server)) == {"server"}
    assert await fabric.send("client", syn(client, server, 81)) == []
    assert await fabric.send("other", udp(other, server)) == []
    assert await fabric.send("other", udp6(other, server)) == []

    fabric.wanted.address_groups["near"] = ("10.0.9.0/24", "fd00:9::/64")
    await fabric.realise()
    assert await fabric.send("client", udp(client, server)) == []
    assert await fabric.send("client", udp6(client, server)) == []
    assert await fabric.reached("other", udp(other, server)) == {"server"}
    assert await fabric.reached("other", udp6(other, server)) == {"server"}

    fabric.wanted.address_groups["near"] = ("0.0.0.0/0",)
    await fabric.realise()
    assert await fabric.reached("client", udp(client, server)) == {"server"}
    assert await fabric.send("client", udp6(client, server)) == []


async def test_flows_grow_with_addresses_and_not_with_rules_times_addresses(fabric: Fabric) -> None:
    open_world(fabric, "web")
    counts = {}
    for rules, addresses in ((1, 10), (1, 20), (5, 20)):
        fabric.wanted.rules = {key: rule for key, rule in fabric.wanted.rules.items() if rule.group != "web"}
        fabric.wanted.address_groups["many"] = tuple(f"192.0.2.{each}/32" for each in range(addresses))
        for port in range(rules):
            numbers = {"port_min": port + 1, "port_max": port + 1}
            fabric.wanted.rule("web", "ingress", protocol=6, remote_addresses="many", **numbers)
        await fabric.realise()
        counts[rules, addresses] = len(fabric.agents["two"].deriver.wanted)
    assert counts[1, 20] - counts[1, 10] == 10
    assert counts[5, 20] - counts[1, 20] == 4 * 2  # each rule its own service and verdict
