# SPDX-License-Identifier: Apache-2.0
"""Who must know of a subnet: the hosts with a port in its network."""

from collections.abc import Iterator

from alcor.features.network.flows import SubnetRow
from alcor.features.subnet.model import SUBNET, Subnet
from alcor.goal.declare import Derivation, GoalFeature, Placed, View


def subnet_rows(view: View, subnet: Subnet) -> Iterator[Placed]:
    """The subnet, for the hosts of its network."""
    row = SubnetRow(id=subnet.id, cidr=subnet.cidr, gateway_ip=subnet.gateway_ip)
    yield Placed(f"network:{subnet.network_id}", f"subnet/{subnet.id}", row)


GOAL = GoalFeature(name="subnet", derivations=(Derivation(SUBNET, subnet_rows),))
