# SPDX-License-Identifier: Apache-2.0
"""What may be done with policies of quality of service and their rules, and who may have which policy."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import msgspec

from alcor.base.errors import Conflict, Forbidden, NotFound, Unsupported
from alcor.features.network.model import Network
from alcor.features.port.model import BY_NETWORK, PORT, Port
from alcor.features.qos.extensions import EXTENSIONS
from alcor.features.qos.model import (
    BANDWIDTH_LIMIT,
    BANDWIDTH_LIMITS_OF,
    BY_NAME,
    BY_PROJECT,
    DEFAULT_OF,
    DSCP_MARKING,
    DSCP_MARKINGS_OF,
    MINIMUM_BANDWIDTH,
    MINIMUM_BANDWIDTHS_OF,
    MINIMUM_PACKET_RATE,
    MINIMUM_PACKET_RATES_OF,
    NETWORK_QOS,
    NETWORKS_WITH,
    PACKET_RATE_LIMIT,
    PACKET_RATE_LIMITS_OF,
    PORT_QOS,
    PORTS_WITH,
    QOS_POLICY,
    SHARED,
    BandwidthLimit,
    MinimumBandwidth,
    MinimumPacketRate,
    NetworkQos,
    PortQos,
    QosPolicy,
    QosRule,
    R,
)
from alcor.features.qos.placement import network_policy, resource_request
from alcor.features.qos.rule_types import CALLS
from alcor.resource.declare import Computed, Context, Extends, Parent, Resource, RestFeature, Written, revised
from alcor.store.declare import Index, Table
from alcor.store.reader import Reader, Txn


@dataclass(frozen=True)
class Kind:
    """One kind of rule: how the API calls it, and how to find those of a policy."""

    name: str
    type: type[QosRule]
    of_policy: Callable[[Reader, str], Sequence[QosRule]]


def _kind(name: str, table: Table[R], index: Index[R]) -> Kind:
    return Kind(name, table.kind, lambda reader, policy: reader.find(table, index, policy))


KINDS = (
    _kind("bandwidth_limit", BANDWIDTH_LIMIT, BANDWIDTH_LIMITS_OF),
    _kind("dscp_marking", DSCP_MARKING, DSCP_MARKINGS_OF),
    _kind("minimum_bandwidth", MINIMUM_BANDWIDTH, MINIMUM_BANDWIDTHS_OF),
    _kind("packet_rate_limit", PACKET_RATE_LIMIT, PACKET_RATE_LIMITS_OF),
    _kind("minimum_packet_rate", MINIMUM_PACKET_RATE, MINIMUM_PACKET_RATES_OF),
)
_NETWORKS_OWN = "network:"  # owners of ports that a network's policy does not bind
_MACHINES = "compute:"  # owners of ports for which Nova has taken resources
_BY_TYPE: Mapping[type[QosRule], Kind] = {kind.type: kind for kind in KINDS}


def on_delete(txn: Txn, ctx: Context, old: QosPolicy) -> None:
    """Raises Conflict while a port or a network has the policy; its rules go with it."""
    users = (
        ("port", txn.first(PORT_QOS, PORTS_WITH, old.id)),
        ("network", txn.first(NETWORK_QOS, NETWORKS_WITH, old.id)),
    )
    for noun, user in users:
        if user is not None:
            raise Conflict(f"QoS Policy {old.id} is used by {noun} {user.id}.", type="QosPolicyInUse")


def is_shared(reader: Reader, project_id: str, policy: QosPolicy) -> bool:
    """Whether every project may have ports and networks with the policy."""
    return policy.shared


def shared_ids(reader: Reader, project_id: str) -> list[str]:
    """The policies that every project may use."""
    return [policy.id for policy in reader.find(QOS_POLICY, SHARED, True)]


def on_create_rule(txn: Txn, ctx: Context, new: R) -> R:
    """The rule, if it fits with the others of its policy."""
    _check_rule(txn, new, ctx.given | {"direction"})
    _revise(txn, ctx, new)
    return new


def on_update_rule(txn: Txn, ctx: Context, old: R, new: R) -> R:
    """The changed rule, if it fits with the others of its policy."""
    _check_rule(txn, new, ctx.given)
    _revise(txn, ctx, new)
    return new


def on_delete_rule(txn: Txn, ctx: Context, old: QosRule) -> None:
    """Any rule may go."""
    _revise(txn, ctx, old)


def _revise(txn: Txn, ctx: Context, rule: QosRule) -> None:
    if isinstance(rule, MinimumBandwidth | MinimumPacketRate):
        own = (txn.get(PORT, row.id) for row in txn.find(PORT_QOS, PORTS_WITH, rule.policy_id))
        networks = txn.find(NETWORK_QOS, NETWORKS_WITH, rule.policy_id)
        for port in chain(own, *(_led(txn, network.id) for network in networks)):
            if port.device_owner.startswith(_MACHINES):
                raise _tracked(rule.policy_id, port)
    txn.update(QOS_POLICY, revised(ctx, txn.get(QOS_POLICY, rule.policy_id)))


def _led(reader: Reader, network: str) -> Iterator[Port]:
    """The network's ports that have no policy of their own."""
    return (port for port in reader.find(PORT, BY_NETWORK, network) if _own_policy(reader, port) is None)


def _own_policy(reader: Reader, port: Port) -> str | None:
    row = reader.peek(PORT_QOS, port.id)
    return row.qos_policy_id if row is not None else None


def _check_allocated(txn: Txn, ports: Iterable[Port], policy: str | None) -> None:
    """Raises Unsupported where Nova took the minimum of the policy, which they have no longer, from a host for one of
    these ports.
    """
    if policy is None or not (
        txn.count(MINIMUM_BANDWIDTH, MINIMUM_BANDWIDTHS_OF, policy)
        or txn.count(MINIMUM_PACKET_RATE, MINIMUM_PACKET_RATES_OF, policy)
    ):
        return
    for port in ports:
        if port.device_owner.startswith(_MACHINES) and port.profile.get("allocation"):
            raise _tracked(policy, port)


def _tracked(policy: str, port: Port) -> Unsupported:
    return Unsupported(
        "Cannot update QoS policies/rules backed by resources tracked in Placement: "
        f"port {port.id} of a machine has policy {policy}."
    )


def _check_rule(txn: Txn, rule: QosRule, given: frozenset[str]) -> None:
    policy, kind = rule.policy_id, _BY_TYPE[type(rule)]
    if isinstance(rule, BandwidthLimit) and "max_kbps" in given:
        for least in txn.find(MINIMUM_BANDWIDTH, MINIMUM_BANDWIDTHS_OF, policy):
            if _meet(rule, least, given) and least.min_kbps > rule.max_kbps:
                raise _does_not_fit(policy, rule.max_kbps, ("minimum_bandwidth", least.min_kbps))
    if isinstance(rule, MinimumBandwidth) and "min_kbps" in given:
        for most in txn.find(BANDWIDTH_LIMIT, BANDWIDTH_LIMITS_OF, policy):
            if _meet(rule, most, given) and most.max_kbps < rule.min_kbps:
                raise _does_not_fit(policy, rule.min_kbps, ("bandwidth_limit", most.max_kbps))

    others = [other for other in kind.of_policy(txn, policy) if other.id != rule.id]
    if isinstance(rule, MinimumPacketRate):
        for other in others:
            ways = {rule.direction, _direction(other)}
            if len(ways) > 1 and "any" in ways:
                raise _does_not_fit(policy, rule.direction, (kind.name, _direction(other)))
    for other in others:
        if _direction(other) == _direction(rule):
            raise Conflict(
                f"Rule {kind.name} conflicts with rule {other.id} which already exists in QoS Policy {policy}.",
                type="QoSRulesConflict",
            )


def _direction(rule: QosRule) -> str | None:
    direction: str | None = getattr(rule, "direction", None)  # marks have none
    return direction


def _meet(one: QosRule, other: QosRule, given: frozenset[str]) -> bool:
    """Whether two rules are about one direction; an update that names none is held against both, as by Neutron."""
    return "direction" not in given or _direction(one) == _direction(other)


def _does_not_fit(policy: str, value: object, existing: tuple[str, object]) -> Conflict:
    name, has = existing
    return Conflict(
        f"Unable to add the rule with value {value} to the policy {policy} as the existing rule of type {name} has"
        f" value {has}.",
        type="QoSRuleParameterConflict",
    )


def on_port(txn: Txn, ctx: Context, written: Written[Port, PortQos]) -> PortQos:
    """The port's policy, if the caller may use it and may take off the one before."""
    new = written.new
    if "qos_policy_id" in ctx.given:
        was = written.old.qos_policy_id if written.old else None
        _check_change(txn, ctx, was, new.qos_policy_id)
        by_network = network_policy(txn, written.stored)
        if written.before is not None and (was or by_network) != (new.qos_policy_id or by_network):
            _check_allocated(txn, (written.before,), was or by_network)
    is_exempt = written.stored.device_owner.startswith(_NETWORKS_OWN)
    return new if is_exempt == new.is_exempt else msgspec.structs.replace(new, is_exempt=is_exempt)


def on_network(txn: Txn, ctx: Context, written: Written[Network, NetworkQos]) -> NetworkQos:
    """The network's policy, for a new one by default that of its project; refused as for a port."""
    asked = written.new.qos_policy_id
    if written.before is None and asked is None:
        default = txn.first(QOS_POLICY, DEFAULT_OF, written.stored.project_id)
        return NetworkQos(id=written.stored.id, qos_policy_id=default.id if default else None)
    if "qos_policy_id" in ctx.given:
        was = written.old.qos_policy_id if written.old else None
        _check_change(txn, ctx, was, asked)
        if was != asked:
            _check_allocated(txn, _led(txn, written.stored.id), was)
    return written.new


def _check_change(txn: Txn, ctx: Context, old: str | None, new: str | None) -> None:
    if old is not None and not _may_use(txn, ctx, old):
        raise Forbidden(
            f"Failed to remove provided policy {old} because you are not authorized.",
            type="PolicyRemoveAuthorizationError",
        )
    if new is not None:
        ctx.visible(txn, QOS_POLICY, new)


def _may_use(txn: Txn, ctx: Context, id: str) -> bool:
    try:
        ctx.visible(txn, QOS_POLICY, id)
    except NotFound:
        return False
    return True


def _rules_of(reader: Reader, policy: QosPolicy) -> list[dict[str, object]]:
    return [
        {
            "id": rule.id,
            "qos_policy_id": policy.id,
            "type": kind.name,
            **{
                name: getattr(rule, name)
                for name in rule.__struct_fields__
                if name not in ("id", "policy_id")
            },
        }
        for kind in KINDS
        for rule in kind.of_policy(reader, policy.id)
    ]


def _under_policy(name: str, table: Table[R], index: Index[R]) -> Resource[R]:
    return Resource(
        name=f"{name}_rule",
        plural=f"{name}_rules",
        path=f"{name}_rules",
        table=table,
        parent=Parent("policy", "policy_id", index),
        on_create=on_create_rule,
        on_update=on_update_rule,
        on_delete=on_delete_rule,
        doc=(table.kind.__doc__ or "").strip(),
    )


def _alias(name: str, table: Table[R], index: Index[R]) -> Resource[R]:
    """The same rules by a URL that does not name their policy."""
    return Resource(
        name=f"alias_{name}_rule",
        plural=f"alias_{name}_rules",
        path=f"qos/alias-{name.replace('_', '-')}-rules",
        table=table,
        parent=Parent("policy", "policy_id", index, is_in_url=False),
        on_update=on_update_rule,
        on_delete=on_delete_rule,
        doc=(table.kind.__doc__ or "").strip(),
    )


_ALIASES = tuple(extension.alias for extension in EXTENSIONS)
_ID_OR_NULL: Mapping[str, object] = {"type": ["string", "null"], "format": "uuid"}

REST = RestFeature(
    name="qos",
    resources=(
        Resource(
            name="policy",
            plural="policies",
            path="qos/policies",
            tags_at="policies",  # as Neutron, which names all that is tagged by its collection alone
            table=QOS_POLICY,
            aliases=_ALIASES,
            on_create=lambda txn, ctx, new: new,
            on_update=lambda txn, ctx, old, new: new,
            on_delete=on_delete,
            computed=(
                Computed("rules", _rules_of, {"type": "array", "items": {"type": "object"}}, filter=False),
            ),
            by_field={"project_id": BY_PROJECT, "name": BY_NAME},
            is_shared=is_shared,
            shared_ids=shared_ids,
            is_taggable=True,
            doc="Rules of quality of service for the ports and networks that have the policy.",
        ),
        _under_policy("bandwidth_limit", BANDWIDTH_LIMIT, BANDWIDTH_LIMITS_OF),
        _under_policy("dscp_marking", DSCP_MARKING, DSCP_MARKINGS_OF),
        _under_policy("minimum_bandwidth", MINIMUM_BANDWIDTH, MINIMUM_BANDWIDTHS_OF),
        _under_policy("packet_rate_limit", PACKET_RATE_LIMIT, PACKET_RATE_LIMITS_OF),
        _under_policy("minimum_packet_rate", MINIMUM_PACKET_RATE, MINIMUM_PACKET_RATES_OF),
        _alias("bandwidth_limit", BANDWIDTH_LIMIT, BANDWIDTH_LIMITS_OF),
        _alias("dscp_marking", DSCP_MARKING, DSCP_MARKINGS_OF),
        _alias("minimum_bandwidth", MINIMUM_BANDWIDTH, MINIMUM_BANDWIDTHS_OF),
        _alias("minimum_packet_rate", MINIMUM_PACKET_RATE, MINIMUM_PACKET_RATES_OF),
    ),
    extends=(
        Extends("network", table=NETWORK_QOS, on_write=on_network, when="always"),
        Extends(
            "port",
            table=PORT_QOS,
            on_write=on_port,
            when="always",
            computed=(
                Computed("qos_network_policy_id", network_policy, _ID_OR_NULL, filter=False),
                Computed(
                    "resource_request",
                    resource_request,
                    {"type": ["object", "null"]},
                    filter=False,
                    seen_by="admin",
                ),
            ),
        ),
    ),
    extensions=EXTENSIONS,
    calls=CALLS,
)
