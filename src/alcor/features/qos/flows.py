# SPDX-License-Identifier: Apache-2.0
"""What hosts know of quality of service, and how packets are held to it: meters on both ways of a port, and marks.

A port's own policy goes before its network's. Why meters: docs/decisions/qos.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from alcor.dataplane.pipeline import CLASSIFY, HAND_OVER, branch, flow, go, load, out_at_once, where
from alcor.dataplane.rows import FlowRule, HostFeature, HostView, Row, RowNeed
from alcor.dataplane.values import ETH_IPV4, ETH_IPV6, Action, Flow, Match, Meter, SetField
from alcor.features.port.flows import CARRIERS, PORTS_OF_NETWORK, PortRow, interface_of

NETWORK_KEY = "qos"  # of NetworkQosRow in `network:N`
BURST_SHARE = 0.8  # of a second's worth, where a rule names no burst: as Neutron
# Kilobits: below, a meter would let no full packet of the largest MTU through, whatever the rate.
BURST_KBITS_MIN = 80
_MANY = (0x010000000000, 0x010000000000)  # eth_dst of broadcast and multicast


class PortQosRow(Row, tag="port_qos", frozen=True, kw_only=True):
    """In `host:H` under `port_key`: the policy of a port itself; "" is none, whatever its network has."""

    port: str
    policy: str = ""


class NetworkQosRow(Row, tag="network_qos", frozen=True, kw_only=True):
    """In `network:N` under NETWORK_KEY: the policy of ports that have none of their own."""

    network: str
    policy: str


class LimitRow(Row, tag="qos_limit", frozen=True, kw_only=True):
    """In `qos_policy:P` under the rule's id: a bound on bandwidth, or on packets, of one direction."""

    direction: Literal["egress", "ingress"]
    rate: int  # kilobits or packets, in a second
    burst: int = 0  # kilobits or packets; 0: none is named
    is_packets: bool = False


class MarkRow(Row, tag="qos_mark", frozen=True, kw_only=True):
    """In `qos_policy:P` under the rule's id: what the port's packets are marked with."""

    dscp: int  # RFC 2474


def port_key(port: str) -> str:
    """The key of a port's row."""
    return f"qos/{port}"


def port_qos_flows(view: HostView, scope: str, row: PortQosRow) -> Iterator[Flow]:
    """What a port's own policy asks for."""
    port = view.row(PortRow, scope, row.port)
    if port is not None and row.policy:
        yield from _flows(view, row.port, row.policy)


def network_qos_flows(view: HostView, scope: str, row: NetworkQosRow) -> Iterator[Flow]:
    """What a network's policy asks for, of each port here that has none of its own."""
    for port in view.find(PORTS_OF_NETWORK, row.network):
        if view.row(PortQosRow, f"host:{view.facts.host}", port_key(port)) is None:
            yield from _flows(view, port, row.policy)


def scopes_of_port_qos(row: PortQosRow) -> Iterator[str]:
    """A host needs the rules of its ports' policies."""
    if row.policy:
        yield f"qos_policy:{row.policy}"


def scopes_of_network_qos(row: NetworkQosRow) -> Iterator[str]:
    """A host needs the rules of its networks' policies."""
    yield f"qos_policy:{row.policy}"


def _flows(view: HostView, port: str, policy: str) -> Iterator[Flow]:
    interface = interface_of(view, port)
    if interface is None:
        return
    scope, ofport = f"qos_policy:{policy}", interface.ofport
    is_carried = bool(view.find(CARRIERS, port))
    limits = view.rows(LimitRow, scope)
    marks = view.rows(MarkRow, scope)
    # A subport's frames come by its trunk's interface, and are known by its number once their tag is off.
    mine = {"source_port" if is_carried else "in_port": ofport}
    yield from _sent(mine, _meters(ofport, limits, "egress"), marks[0].dscp if marks else None)
    if received := _meters(ofport, limits, "ingress"):
        yield from _received(ofport, received)


def _meters(ofport: int, limits: Sequence[LimitRow], direction: str) -> list[Meter]:
    """Numbered by port, direction and unit: each number is one flow's, and is known without remembering any."""
    first = 4 * ofport + (1 if direction == "egress" else 3)
    return [
        Meter(first + limit.is_packets, limit.rate, _burst(limit), limit.is_packets)
        for limit in limits
        if limit.direction == direction and limit.rate  # 0 is no limit, as for Neutron's agent
    ]


def _burst(limit: LimitRow) -> int:
    burst = limit.burst or int(limit.rate * BURST_SHARE)
    return max(burst, 1 if limit.is_packets else BURST_KBITS_MIN)


def _sent(mine: Mapping[str, int], meters: Sequence[Meter], dscp: int | None) -> Iterator[Flow]:
    """Before all else that is looked at: what exceeds a limit costs this host nothing more."""
    # Above the port's own flow, which takes the packet on when all of its limits are passed.
    priority = 150 if "in_port" in mine else 170
    for passed, meter in enumerate(meters):
        onward = (load("sent", passed + 1), go(CLASSIFY))
        yield flow(CLASSIFY, priority, where(**mine, sent=passed), meter, *onward)
    if dscp is not None:
        passed = len(meters)
        for eth_type in (ETH_IPV4, ETH_IPV6):
            unmarked = where(**mine, sent=passed, eth_type=eth_type)
            mark = (SetField("ip_dscp", dscp), load("sent", passed + 1))
            yield flow(CLASSIFY, priority, unmarked, *mark, go(CLASSIFY))


def _received(ofport: int, meters: Sequence[Meter]) -> Iterator[Flow]:
    """Each meter passes the packet on to the next, the last to the port."""

    def at(passed: int, **fields: int | tuple[int, int]) -> Match:
        return where(target_port=ofport, received=passed, **fields)

    yield flow(HAND_OVER, 100, at(0), load("received", 1), go(HAND_OVER))
    # A meter that drops a packet drops what is still to be done with it, so copies for other ports too. What goes to
    # many is therefore metered on a branch of its own, which only tracking makes; it commits nothing.
    for eth_type in (ETH_IPV4, ETH_IPV6):
        copies = at(0, eth_type=eth_type, eth_dst=_MANY)
        yield flow(HAND_OVER, 120, copies, load("received", 1), branch(HAND_OVER), load("received", 0))
    # Tracking takes IP alone; other frames to many (ARP) are few, for those that send them have limits of their own.
    yield flow(HAND_OVER, 110, at(0, eth_dst=_MANY), out_at_once())

    for number, meter in enumerate(meters, 1):
        is_last = number == len(meters)
        onward: tuple[Action, ...] = (load("received", number + 1), go(HAND_OVER))
        if is_last:
            onward = (load("received", 0), out_at_once())
        yield flow(HAND_OVER, 100, at(number), meter, *onward)


FEATURE = HostFeature(
    name="qos",
    rows=(PortQosRow, NetworkQosRow, LimitRow, MarkRow),
    rules=(FlowRule(PortQosRow, port_qos_flows), FlowRule(NetworkQosRow, network_qos_flows)),
    needs=(RowNeed(PortQosRow, scopes_of_port_qos), RowNeed(NetworkQosRow, scopes_of_network_qos)),
)
