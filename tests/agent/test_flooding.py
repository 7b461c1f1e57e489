# SPDX-License-Identifier: Apache-2.0
"""A network on so many hosts that one flow does not send to all: the agent sees to the others, up to a bound."""

from collections import Counter

import pytest

from alcor.agent import main
from alcor.base.metrics import FLOODS_CUT
from alcor.features.port import flows
from alcor.testing.loop import simulate
from alcor.testing.packet import BROADCAST, NO_MAC, Arp, Packet
from alcor.testing.world import World

HOSTS = 8  # of which one speaks; with parts of 2: 2, 2, 2 and 1


@pytest.mark.parametrize("parts_max", [0, 1, 2, 3])
def test_hosts_beyond_the_first_part_get_a_broadcast_once_as_far_as_the_agent_may(
    monkeypatch: pytest.MonkeyPatch, parts_max: int
) -> None:
    monkeypatch.setattr(flows, "FLOOD_HOSTS_MAX", 2)
    monkeypatch.setattr(main, "FLOODED_MAX", parts_max)

    async def scenario() -> None:
        async with World() as world:
            net = await world.create("network", name="net")
            await world.create("subnet", network_id=net["id"], ip_version=4, cidr="10.0.0.0/24")
            machines = []
            for number in range(HOSTS):
                world.add_host(f"h{number}")
                await world.until_registered(f"h{number}")
                machines.append((await world.boot(f"h{number}", network_id=net["id"]))[1])
            await world.settle()
            speaker, *others = machines
            for machine in machines:
                machine.got.clear()
            own = speaker.addresses[0]
            said = Packet(speaker.mac, BROADCAST, Arp(1, speaker.mac, own, NO_MAC, own))
            speaker.send(said)
            await world.settle()
            heard = Counter(machine.got.count(said) for machine in others)
            reached = min(2 + 2 * parts_max, HOSTS - 1)
            assert heard == Counter({1: reached}) + Counter({0: HOSTS - 1 - reached})
            assert not speaker.got
            agent = world.hosts["h0"].agent
            assert agent is not None
            assert agent.meters.value(FLOODS_CUT) == 3 - parts_max

    simulate(scenario())
