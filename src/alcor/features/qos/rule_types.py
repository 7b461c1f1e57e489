# SPDX-License-Identifier: Apache-2.0
"""Which kinds of rule there are, and which values each takes: `/v2.0/qos/rule-types`."""

from collections.abc import Mapping, Sequence

from alcor.base.errors import Forbidden
from alcor.features.qos.model import DIRECTIONS, DSCP_MARKS, INTEGER_MAX
from alcor.resource.declare import Call, Context
from alcor.resource.parse import filter_truth
from alcor.resource.query import sifted
from alcor.store.reader import Txn


def _range() -> Mapping[str, object]:
    return {"parameter_type": "range", "parameter_values": {"start": 0, "end": INTEGER_MAX}}


def _one_of(values: Sequence[object]) -> Mapping[str, object]:
    return {"parameter_type": "choices", "parameter_values": values}


_PARAMETERS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "bandwidth_limit": {"max_kbps": _range(), "max_burst_kbps": _range(), "direction": _one_of(DIRECTIONS)},
    "packet_rate_limit": {"max_kpps": _range(), "max_burst_kpps": _range(), "direction": _one_of(DIRECTIONS)},
    "dscp_marking": {"dscp_mark": _one_of(DSCP_MARKS)},
    "minimum_bandwidth": {"min_kbps": _range(), "direction": _one_of(DIRECTIONS)},
    "minimum_packet_rate": {
        "min_kpps": _range(),
        "direction": _one_of((*DIRECTIONS, "any")),
    },
}


def on_list(txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, Sequence[str]]) -> object:
    """All kinds: each is supported, so the filters `all_supported` and `all_rules` leave none out."""
    ctx.require("get_rule_type", ctx.project_id)
    for text in (*query.get("all_supported", ()), *query.get("all_rules", ())):
        filter_truth(text)
    page = {name: query[name] for name in ("type", "fields", "limit", "marker") if name in query}
    return {"rule_types": sifted([{"type": name} for name in _PARAMETERS], page, ("type",))}


def on_show(txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, object]) -> object:
    """What a kind takes; of a kind that nobody knows, nothing. Only for admins, as by Neutron."""
    ctx.require("get_rule_type", ctx.project_id)
    if not ctx.is_admin:
        raise Forbidden("Only an admin may see the details of QoS rule types.", type="NotAuthorized")
    [name] = names
    takes = [{"parameter_name": field, **values} for field, values in _PARAMETERS.get(name, {}).items()]
    drivers = [{"name": "openvswitch", "supported_parameters": takes}] if takes else []
    return {"rule_type": {"type": name, "drivers": drivers}}


CALLS = (
    Call(
        "qos/rule-types", "GET", on_list, collection="rule_types", rule="get_rule_type", doc="Kinds of rules."
    ),
    Call("qos/rule-types/{type}", "GET", on_show, rule="get_rule_type", doc="What a kind of QoS rule takes."),
)
