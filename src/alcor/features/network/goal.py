# SPDX-License-Identifier: Apache-2.0
"""Who must know of a network: the hosts with a port in it."""

from collections.abc import Iterator

from alcor.features.network.flows import NetworkRow
from alcor.features.network.model import NETWORK, Network
from alcor.goal.declare import Derivation, GoalFeature, Placed, View


def network_rows(view: View, network: Network) -> Iterator[Placed]:
    """The network itself, for every host that has a port in it."""
    row = NetworkRow(id=network.id, vni=network.vni, mtu=network.mtu, admin_state_up=network.admin_state_up)
    yield Placed(f"network:{network.id}", "network", row)


GOAL = GoalFeature(name="network", derivations=(Derivation(NETWORK, network_rows),))
