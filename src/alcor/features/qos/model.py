# SPDX-License-Identifier: Apache-2.0
"""What policies of quality of service and their rules are, and which ports and networks have which."""

from typing import Annotated, TypeVar

from alcor.base.errors import Conflict, NotFound
from alcor.features.network.model import NETWORK
from alcor.features.port.model import PORT
from alcor.resource.declare import Api, Standard
from alcor.resource.parse import parse_int, parse_uuid
from alcor.store.declare import Index, Reference, Stored, Table, own_id

INTEGER_MAX = (1 << 31) - 1
DIRECTIONS = ("ingress", "egress")
# Class selectors, assured forwarding, voice admit, expedited forwarding (RFC 2474, 2597, 5865, 3246).
DSCP_MARKS = (0, 8, *range(10, 42, 2), 44, 46, 48, 56)


class QosPolicy(Standard, frozen=True, kw_only=True):
    """Rules for the ports and networks that have the policy."""

    name: Annotated[str, Api(put=True, max_length=255)] = ""
    shared: Annotated[bool, Api(put=True, sort=False)] = False
    is_default: Annotated[bool, Api(put=True, sort=False)] = False  # new networks of the project get it


BY_PROJECT: Index[QosPolicy] = Index("project_id", lambda policy: (policy.project_id,))
BY_NAME: Index[QosPolicy] = Index("name", lambda policy: (policy.name,) if policy.name else ())
SHARED: Index[QosPolicy] = Index("shared", lambda policy: (True,) if policy.shared else ())
DEFAULT_OF: Index[QosPolicy] = Index(
    "default",
    lambda policy: (policy.project_id,) if policy.is_default else (),
    unique=True,
    taken=lambda policy, key: Conflict(
        f"A default QoS policy exists for project {policy.project_id}.", type="QoSPolicyDefaultAlreadyExists"
    ),
)


def _no_policy(id: str) -> NotFound:
    return NotFound(f"QoS policy {id} could not be found.", type="QosPolicyNotFound")


QOS_POLICY: Table[QosPolicy] = Table(
    "qos_policy", QosPolicy, indexes=(BY_PROJECT, BY_NAME, SHARED, DEFAULT_OF), missing=_no_policy
)


class QosRule(Stored, frozen=True, kw_only=True):
    """What all rules have."""

    policy_id: str


class BandwidthLimit(QosRule, frozen=True, kw_only=True):
    """No more than this in one direction; `egress` is what the port sends."""

    max_kbps: Annotated[int, Api(put=True, required=True, minimum=0, maximum=INTEGER_MAX)]
    max_burst_kbps: Annotated[int, Api(put=True, minimum=0, maximum=INTEGER_MAX)] = 0
    direction: Annotated[str, Api(put=True, choices=DIRECTIONS)] = "egress"


class DscpMarking(QosRule, frozen=True, kw_only=True):
    """What the port's packets are marked with."""

    dscp_mark: Annotated[int, Api(put=True, required=True, parse=parse_int, choices=DSCP_MARKS)]


class MinimumBandwidth(QosRule, frozen=True, kw_only=True):
    """What the port's host must have to give: a request to placement."""

    min_kbps: Annotated[int, Api(put=True, required=True, minimum=0, maximum=INTEGER_MAX)]
    direction: Annotated[str, Api(put=True, choices=DIRECTIONS)] = "egress"


class PacketRateLimit(QosRule, frozen=True, kw_only=True):
    """No more thousands of packets a second than this in one direction."""

    max_kpps: Annotated[int, Api(put=True, required=True, minimum=0, maximum=INTEGER_MAX)]
    max_burst_kpps: Annotated[int, Api(put=True, minimum=0, maximum=INTEGER_MAX)] = 0
    direction: Annotated[str, Api(put=True, choices=DIRECTIONS)] = "egress"


class MinimumPacketRate(QosRule, frozen=True, kw_only=True):
    """What the port's host must be able to carry: a request to placement."""

    min_kpps: Annotated[int, Api(put=True, required=True, minimum=0, maximum=INTEGER_MAX)]
    direction: Annotated[str, Api(put=True, choices=(*DIRECTIONS, "any"))] = "egress"


R = TypeVar("R", bound=QosRule)


def _no_rule(id: str) -> NotFound:
    return NotFound(f"QoS rule {id} could not be found: list those of its policy.", type="QosRuleNotFound")


def _rules(name: str, kind: type[R]) -> tuple[Table[R], Index[R]]:
    """A table of rules of one kind, and its index by policy; rules go with their policy."""

    def of_policy(rule: R) -> tuple[str]:
        return (rule.policy_id,)

    index: Index[R] = Index("policy_id", of_policy)
    reference: Reference[R] = Reference("policy_id", QOS_POLICY, of_policy, by=index)
    return Table(f"qos_{name}_rule", kind, (index,), (reference,), missing=_no_rule), index


BANDWIDTH_LIMIT, BANDWIDTH_LIMITS_OF = _rules("bandwidth_limit", BandwidthLimit)
DSCP_MARKING, DSCP_MARKINGS_OF = _rules("dscp_marking", DscpMarking)
MINIMUM_BANDWIDTH, MINIMUM_BANDWIDTHS_OF = _rules("minimum_bandwidth", MinimumBandwidth)
PACKET_RATE_LIMIT, PACKET_RATE_LIMITS_OF = _rules("packet_rate_limit", PacketRateLimit)
MINIMUM_PACKET_RATE, MINIMUM_PACKET_RATES_OF = _rules("minimum_packet_rate", MinimumPacketRate)


def _uuid_or_none(value: object) -> str | None:
    return None if value is None else parse_uuid(value)


class PortQos(Stored, frozen=True, kw_only=True):
    """The policy of a port, and whether it is one of the network itself, which the network's policy does not bind."""

    qos_policy_id: Annotated[str | None, Api(put=True, filter=False, sort=False, parse=_uuid_or_none)] = None
    is_exempt: bool = False


class NetworkQos(Stored, frozen=True, kw_only=True):
    """The policy of a network, for those of its ports that have none of their own."""

    qos_policy_id: Annotated[str | None, Api(put=True, filter=False, sort=False, parse=_uuid_or_none)] = None


PORTS_WITH: Index[PortQos] = Index("policy", lambda row: (row.qos_policy_id,) if row.qos_policy_id else ())
NETWORKS_WITH: Index[NetworkQos] = Index(
    "policy", lambda row: (row.qos_policy_id,) if row.qos_policy_id else ()
)


def _in_use(policy: QosPolicy) -> Conflict:
    return Conflict(f"QoS Policy {policy.id} is in use.", type="QosPolicyInUse")


PORT_QOS: Table[PortQos] = Table(
    "port_qos",
    PortQos,
    (PORTS_WITH,),
    (
        Reference("port", PORT, own_id),
        Reference(
            "policy",
            QOS_POLICY,
            lambda row: (row.qos_policy_id,) if row.qos_policy_id else (),
            in_use=_in_use,
            by=PORTS_WITH,
        ),
    ),
)
NETWORK_QOS: Table[NetworkQos] = Table(
    "network_qos",
    NetworkQos,
    (NETWORKS_WITH,),
    (
        Reference("network", NETWORK, own_id),
        Reference(
            "policy",
            QOS_POLICY,
            lambda row: (row.qos_policy_id,) if row.qos_policy_id else (),
            in_use=_in_use,
            by=NETWORKS_WITH,
        ),
    ),
)
TABLES = (
    QOS_POLICY,
    BANDWIDTH_LIMIT,
    DSCP_MARKING,
    MINIMUM_BANDWIDTH,
    PACKET_RATE_LIMIT,
    MINIMUM_PACKET_RATE,
    PORT_QOS,
    NETWORK_QOS,
)
