# SPDX-License-Identifier: Apache-2.0
"""Whatever the history, rows and interest are what would be derived from nothing: of the product's own features."""

from collections.abc import Callable
from random import Random

import pytest

from alcor.base.net import Cidr, Ip, Mac
from alcor.features.address_group.model import ADDRESS_GROUP, AddressGroup
from alcor.features.agent.model import HOST, Host
from alcor.features.control import GOAL, SCHEMA
from alcor.features.network.model import NETWORK, Network
from alcor.features.port.model import PORT, FixedIp, Port
from alcor.features.security_group.model import (
    GROUP_SET,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    GroupSet,
    SecurityGroup,
    SecurityGroupRule,
)
from alcor.features.subnet.model import SUBNET, Subnet
from alcor.store.declare import Stored, Table
from tests.goal.histories import EXPANDERS, CheckedGoal, History, Write, random_turns

SIZE = 4


def a_host(random: Random, number: int) -> Host:
    return Host(id=f"h{number}", tunnel_ip=Ip(f"10.0.0.{random.randrange(9)}"))


def a_network(random: Random, number: int) -> Network:
    return Network(id=f"n{number}", vni=number + 1, mtu=random.choice((1450, 9000)))


def a_subnet(random: Random, number: int) -> Subnet:
    gateway = random.choice((None, Ip(f"10.{number}.0.1")))
    network_id, cidr = f"n{random.randrange(SIZE)}", Cidr(f"10.{number}.0.0/16")
    return Subnet(id=f"s{number}", network_id=network_id, ip_version=4, cidr=cidr, gateway_ip=gateway)


def a_rule(random: Random, number: int) -> SecurityGroupRule:
    return SecurityGroupRule(
        id=f"r{number}",
        number=number + 1,
        security_group_id=f"g{random.randrange(SIZE)}",
        direction=random.choice(("ingress", "egress")),
        remote_group_id=random.choice((None, f"g{random.randrange(SIZE)}")),
        remote_address_group_id=random.choice((None, f"a{random.randrange(SIZE)}")),
    )


def a_group(random: Random, number: int) -> SecurityGroup:
    return SecurityGroup(id=f"g{number}", stateful=random.random() < 0.5)


def an_address_group(random: Random, number: int) -> AddressGroup:
    addresses = (Cidr(f"10.0.{each}.0/24") for each in random.sample(range(9), random.randrange(5)))
    return AddressGroup(id=f"a{number}", addresses=tuple(addresses))


def a_group_set(random: Random, number: int) -> GroupSet:
    groups = tuple(sorted(random.sample([f"g{n}" for n in range(SIZE)], random.randrange(1, 3))))
    return GroupSet(id=str(number + 1), number=number + 1, groups=groups)


def a_port(random: Random, number: int) -> Port:
    number += SIZE * random.randrange(3)
    return Port(
        id=f"p{number}",
        network_id=f"n{random.randrange(SIZE)}",
        mac_address=Mac(f"fa:16:3e:00:00:{number:02x}"),
        fixed_ips=(FixedIp("s0", Ip(f"10.0.0.{number + 10}")),),
        host=f"h{random.randrange(SIZE)}",
        vif_type=random.choice(("ovs", "ovs", "unbound")),
        admin_state_up=random.random() < 0.8,
        security_groups=tuple(random.sample([f"g{n}" for n in range(SIZE)], random.randrange(3))),
        group_set=random.randrange(SIZE),
        generation=random.randrange(3),
    )


MAKERS: list[tuple[Table, Callable[[Random, int], Stored]]] = [
    (HOST, a_host),
    (NETWORK, a_network),
    (SUBNET, a_subnet),
    (SECURITY_GROUP_RULE, a_rule),
    (GROUP_SET, a_group_set),
    (SECURITY_GROUP, a_group),
    (ADDRESS_GROUP, an_address_group),
    *[(PORT, a_port)] * 3,
]


def random_write(random: Random) -> Write:
    """A write among a few hosts, networks, groups and ports, in no sensible order."""
    table, make = random.choice(MAKERS)
    new = make(random, random.randrange(SIZE))
    return table, new.id, new if random.random() < 0.75 else None


@pytest.mark.parametrize("seed", range(25))
def test_a_random_history_is_what_is_derived_from_nothing(seed: int) -> None:
    checked = CheckedGoal(SCHEMA, GOAL)
    for turn in _sound(random_turns(random_write, seed, turns=50)):
        checked.take(turn)


@pytest.mark.parametrize("expand", EXPANDERS, ids=lambda expander: expander.__name__)
def test_a_small_cloud_is_what_is_derived_from_nothing_however_it_comes_about(
    expand: Callable[[History], History],
) -> None:
    cloud: History = list(_sound(random_turns(random_write, seed=99, turns=25)))
    checked = CheckedGoal(SCHEMA, GOAL)
    for turn in _sound(expand(cloud)):
        checked.take(turn)


def test_a_new_port_derives_one_object_however_many_there_are() -> None:
    checked = CheckedGoal(SCHEMA, GOAL)
    checked.take([(HOST, f"h{n}", Host(id=f"h{n}", tunnel_ip=Ip(f"10.0.0.{n}"))) for n in range(5)])
    checked.take([(NETWORK, "n", Network(id="n", vni=1))])
    costs = []
    for number in range(200):
        port = Port(id=f"p{number}", network_id="n", host=f"h{number % 5}", vif_type="ovs")
        before = checked.goal.compiler.derived
        checked.goal.apply(checked.state.tables, checked.state.take([(PORT, port.id, port)]))
        costs.append(checked.goal.compiler.derived - before)
    assert set(costs) == {1}


def _sound(history: History) -> History:
    """The turns without what unique indexes would have refused: two group sets of the same groups."""
    held: dict[str, tuple[str, ...]] = {}
    for turn in history:
        kept = []
        for table, key, new in turn:
            if table is GROUP_SET:
                held.pop(key, None)
                if isinstance(new, GroupSet) and new.groups in held.values():
                    new = None
                elif isinstance(new, GroupSet):
                    held[key] = new.groups
            kept.append((table, key, new))
        yield kept
