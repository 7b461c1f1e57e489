# SPDX-License-Identifier: Apache-2.0
"""Who must know of quality of service: of a policy, the hosts with a port that has it, itself or by its network."""

from collections.abc import Iterator
from typing import Literal

from alcor.features.binding.model import PORT_BINDING, PortBinding
from alcor.features.port.model import PORT
from alcor.features.qos.flows import (
    NETWORK_KEY,
    LimitRow,
    MarkRow,
    NetworkQosRow,
    PortQosRow,
    port_key,
    scopes_of_network_qos,
    scopes_of_port_qos,
)
from alcor.features.qos.model import (
    BANDWIDTH_LIMIT,
    DSCP_MARKING,
    NETWORK_QOS,
    PACKET_RATE_LIMIT,
    PORT_QOS,
    BandwidthLimit,
    DscpMarking,
    NetworkQos,
    PacketRateLimit,
    PortQos,
)
from alcor.goal.declare import Derivation, GoalFeature, Need, Placed, View, host_scope

_PACKETS = 1000  # rules count thousands


def port_qos_rows(view: View, qos: PortQos) -> Iterator[Placed]:
    """The policy of a bound port, on its host; none, for one that its network's policy does not bind."""
    port = view.peek(PORT, qos.id)
    if port is not None and port.is_bound:
        row = PortQosRow(port=port.id, policy=qos.qos_policy_id or "")
        yield Placed(host_scope(port.host), port_key(port.id), row)


def waiting_rows(view: View, binding: PortBinding) -> Iterator[Placed]:
    """The same on a host where the port waits for its activation."""
    qos = view.peek(PORT_QOS, binding.port_id)
    if qos is not None and binding.vif_type == "ovs":
        row = PortQosRow(port=qos.id, policy=qos.qos_policy_id or "")
        yield Placed(host_scope(binding.host), port_key(qos.id), row)


def network_qos_rows(view: View, qos: NetworkQos) -> Iterator[Placed]:
    """The policy of a network, for every host that has a port in it."""
    if qos.qos_policy_id:
        row = NetworkQosRow(network=qos.id, policy=qos.qos_policy_id)
        yield Placed(f"network:{qos.id}", NETWORK_KEY, row)


def bandwidth_rows(view: View, rule: BandwidthLimit) -> Iterator[Placed]:
    """The limit, for hosts with a port that has the policy."""
    row = LimitRow(direction=_direction(rule.direction), rate=rule.max_kbps, burst=rule.max_burst_kbps)
    yield Placed(f"qos_policy:{rule.policy_id}", rule.id, row)


def packet_rate_rows(view: View, rule: PacketRateLimit) -> Iterator[Placed]:
    """The limit, for hosts with a port that has the policy."""
    row = LimitRow(
        direction=_direction(rule.direction),
        rate=rule.max_kpps * _PACKETS,
        burst=rule.max_burst_kpps * _PACKETS,
        is_packets=True,
    )
    yield Placed(f"qos_policy:{rule.policy_id}", rule.id, row)


def mark_rows(view: View, rule: DscpMarking) -> Iterator[Placed]:
    """The mark, for hosts with a port that has the policy."""
    yield Placed(f"qos_policy:{rule.policy_id}", rule.id, MarkRow(dscp=rule.dscp_mark))


def _direction(direction: str) -> Literal["egress", "ingress"]:
    return "ingress" if direction == "ingress" else "egress"


GOAL = GoalFeature(
    name="qos",
    derivations=(
        Derivation(PORT_QOS, port_qos_rows),
        Derivation(PORT_BINDING, waiting_rows),
        Derivation(NETWORK_QOS, network_qos_rows),
        Derivation(BANDWIDTH_LIMIT, bandwidth_rows),
        Derivation(PACKET_RATE_LIMIT, packet_rate_rows),
        Derivation(DSCP_MARKING, mark_rows),
    ),
    needs=(Need(PortQosRow, scopes_of_port_qos), Need(NetworkQosRow, scopes_of_network_qos)),
)
