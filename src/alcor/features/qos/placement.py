# SPDX-License-Identifier: Apache-2.0
"""What a port asks of placement (Nova asks for it before it chooses a host): the minimum rules of its policy.

Forms and names are Neutron's: one group of resources for bandwidth, one for packets, each known by the port and the
rules that it stands for.
"""

import re
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid5

from alcor.features.network.model import NETWORK
from alcor.features.port.model import Port
from alcor.features.qos.model import (
    MINIMUM_BANDWIDTH,
    MINIMUM_BANDWIDTHS_OF,
    MINIMUM_PACKET_RATE,
    MINIMUM_PACKET_RATES_OF,
    NETWORK_QOS,
    PORT_QOS,
    QosRule,
)
from alcor.store.reader import Reader

_BANDWIDTH: Mapping[str, str] = {
    "ingress": "NET_BW_IGR_KILOBIT_PER_SEC",
    "egress": "NET_BW_EGR_KILOBIT_PER_SEC",
}
_PACKETS: Mapping[str, str] = {
    "ingress": "NET_PACKET_RATE_IGR_KILOPACKET_PER_SEC",
    "egress": "NET_PACKET_RATE_EGR_KILOPACKET_PER_SEC",
    "any": "NET_PACKET_RATE_KILOPACKET_PER_SEC",
}
_TUNNELLED = "CUSTOM_NETWORK_TUNNEL_PROVIDER"


def network_policy(reader: Reader, port: Port) -> str | None:
    """The policy of the port's network."""
    row = reader.peek(NETWORK_QOS, port.network_id)
    return row.qos_policy_id if row is not None else None


def resource_request(reader: Reader, port: Port) -> dict[str, object] | None:
    """The groups of resources that the port needs, None where its policy asks for none."""
    own = reader.peek(PORT_QOS, port.id)
    policy = own.qos_policy_id if own is not None and own.qos_policy_id else network_policy(reader, port)
    if policy is None:
        return None
    bandwidth = reader.find(MINIMUM_BANDWIDTH, MINIMUM_BANDWIDTHS_OF, policy)
    packets = reader.find(MINIMUM_PACKET_RATE, MINIMUM_PACKET_RATES_OF, policy)
    vnic = _trait("VNIC_TYPE", port.vnic_type)
    groups = []
    if bandwidth:
        amounts = {_BANDWIDTH[rule.direction]: rule.min_kbps for rule in bandwidth}
        groups.append(_group(port, bandwidth, [_network_trait(reader, port), vnic], amounts))
    if packets:
        amounts = {_PACKETS[rule.direction]: rule.min_kpps for rule in packets}
        groups.append(_group(port, packets, [vnic], amounts))
    if not groups:
        return None
    return {"request_groups": groups, "same_subtree": [group["id"] for group in groups]}


def _group(
    port: Port, rules: Sequence[QosRule], traits: Sequence[str], amounts: Mapping[str, int]
) -> dict[str, object]:
    number = uuid5(UUID(port.id), ":".join(rule.id for rule in rules))
    return {"id": str(number), "required": traits, "resources": amounts}


def _network_trait(reader: Reader, port: Port) -> str:
    physical = reader.get(NETWORK, port.network_id).providers[0].physical_network  # as the reference has it
    return _trait("PHYSNET", physical) if physical else _TUNNELLED


def _trait(kind: str, value: str) -> str:
    return f"CUSTOM_{kind}_" + re.sub(r"[^A-Z0-9_]", "_", value.upper())
