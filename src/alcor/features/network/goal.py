# SPDX-License-Identifier: Apache-2.0
"""Who must know of a network: the hosts with a port in it."""

from collections.abc import Iterator

from alcor.features.network.flows import NetworkRow, WireRow
from alcor.features.network.model import NETWORK, VLAN, VXLAN, Network, Provider
from alcor.goal.declare import Derivation, GoalFeature, Placed, View


def network_rows(view: View, network: Network) -> Iterator[Placed]:
    """The network itself, for every host that has a port in it."""
    is_plain = all(provider.network_type == VXLAN for provider in network.providers)
    row = NetworkRow(
        id=network.id,
        vni=network.vni,
        mtu=network.mtu,
        admin_state_up=network.admin_state_up,
        vlan_transparent=network.vlan_transparent,
        wires=() if is_plain else tuple(map(_wire, network.providers)),
    )
    yield Placed(f"network:{network.id}", "network", row)


def _wire(provider: Provider) -> WireRow:
    tag = provider.segmentation_id if provider.network_type == VLAN else None
    return WireRow(provider.network_type, provider.physical_network or "", tag or 0)


GOAL = GoalFeature(name="network", derivations=(Derivation(NETWORK, network_rows),))
