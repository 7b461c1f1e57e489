# SPDX-License-Identifier: Apache-2.0
"""A port on two hosts in packets: it waits on one of them, and what comes to a host that it has left."""

from dataclasses import replace

import pytest

from alcor.features.binding.flows import MovedRow
from tests.agent.fabric import Fabric
from tests.agent.wanted import nic
from tests.features.packets import echo, small_world, to_all, udp

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_waiting_port_gets_nothing_of_its_own_host(fabric: Fabric) -> None:
    a, b, c = small_world(fabric)
    fabric.add("w", replace(c, host="one", is_active=False))
    await fabric.realise()
    assert await fabric.reached("a", echo(a, c)) == {"c"}
    assert await fabric.reached("a", to_all(a)) == {"b", "c"}
    assert await fabric.reached("b", udp(b, c)) == {"c"}


async def test_waiting_port_gets_what_others_send_that_have_heard_earlier(fabric: Fabric) -> None:
    """The sender's host knows of the activation, the port's new host does not yet."""
    a, b, c = small_world(fabric)
    fabric.add("w", replace(a, host="two", is_active=False))
    fabric.change("a", is_active=False)
    fabric.wanted.early = {"one": {a.id: "two"}, "two": {a.id: "one"}}
    await fabric.realise()
    assert await fabric.reached("b", echo(b, a)) == {"w"}
    assert await fabric.reached("c", udp(c, a)) == {"a"}, "one that waits is reached from other hosts"


async def test_nothing_goes_round_between_the_hosts_of_a_move(fabric: Fabric) -> None:
    """c has left one for two, and a sender on two has not heard of it."""
    small_world(fabric)
    c, d = fabric.wanted.nics["c"], fabric.add("d", nic(4, "n", "two", groups=("g",)))
    fabric.change("c", is_active=False)
    fabric.wanted.early = {"one": {c.id: "two"}, "two": {c.id: "one"}}
    there = fabric.wanted.tunnel_ips["two"]
    fabric.wanted.moved = {"one": {f"moved/{c.id}": MovedRow(network="n", mac=c.mac, tunnel_ip=there)}}
    await fabric.realise()
    assert await fabric.send("d", udp(d, c)) == []
