# SPDX-License-Identifier: Apache-2.0
"""What may be done with the segments of a network, and what follows for the network and its subnets."""

import msgspec

from alcor.features.network.model import (
    NETWORK,
    SEGMENT,
    SEGMENTS_OF_NETWORK,
    Network,
    Segment,
    segment_in_use,
)
from alcor.features.network.rules import carrier, numbered, recarried
from alcor.features.port.model import BY_NETWORK as PORTS_OF_NETWORK
from alcor.features.port.model import PORT
from alcor.features.segment.range_rules import EXTENSION, RANGES
from alcor.features.subnet.model import BY_NETWORK, SUBNET
from alcor.resource.declare import Computed, Context, Extends, Extension, Resource, RestFeature
from alcor.store.reader import Reader, Txn


def on_create(txn: Txn, ctx: Context, new: Segment) -> Segment:
    """The segment behind the network's others, with a number. Raises what no network may be carried by."""
    network = ctx.visible(txn, NETWORK, new.network_id)
    others = txn.find(SEGMENT, SEGMENTS_OF_NETWORK, new.network_id)
    index = 1 + max((other.segment_index for other in others), default=-1)
    return msgspec.structs.replace(numbered(txn, ctx, network, new), segment_index=index)


def after_create(txn: Txn, ctx: Context, made: Segment) -> None:
    """Lets hosts carry the network by it, too."""
    recarried(txn, ctx, txn.get(NETWORK, made.network_id))


def on_update(txn: Txn, ctx: Context, old: Segment, new: Segment) -> Segment:
    """Takes name and description as they are."""
    return new


def on_delete(txn: Txn, ctx: Context, old: Segment) -> None:
    """Carries the network by the others. Raises Conflict while ports or subnets are on it, and for the last one."""
    network = txn.get(NETWORK, old.network_id)
    if len(network.providers) == 1:
        raise segment_in_use(old.id, "It is the only one of its network; delete the network instead")
    ports = [
        port.id
        for port in txn.find(PORT, PORTS_OF_NETWORK, network.id)
        if port.is_bound and carrier(txn, network, port.host) == old.provider
    ]
    if ports:
        raise segment_in_use(
            old.id, f"The segment is still associated with port(s) {', '.join(sorted(ports))}"
        )
    subnets = [
        subnet.id for subnet in txn.find(SUBNET, BY_NETWORK, network.id) if subnet.segment_id == old.id
    ]
    if subnets:
        raise segment_in_use(
            old.id, f"The segment is still associated with subnet(s) {', '.join(sorted(subnets))}"
        )
    recarried(txn, ctx, network, without=old.id)


def is_adjacent(reader: Reader, network: Network) -> bool:
    """Whether ports may expect to reach each other at layer 2: no subnet belongs to a segment."""
    return all(subnet.segment_id is None for subnet in reader.find(SUBNET, BY_NETWORK, network.id))


REST = RestFeature(
    name="segment",
    resources=(
        Resource(
            name="segment",
            plural="segments",
            path="segments",
            table=SEGMENT,
            aliases=("segment", "standard-attr-segment", "multi-provider", "subnet-segmentid-writable"),
            on_create=on_create,
            after_create=after_create,
            on_update=on_update,
            on_delete=on_delete,
            by_field={"network_id": SEGMENTS_OF_NETWORK},
            is_taggable=True,
            access="admin",
            doc="A way in which a network is carried.",
        ),
        RANGES,
    ),
    extends=(
        Extends("network", (Computed("l2_adjacency", is_adjacent, {"type": "boolean"}, filter=False),)),
    ),
    extensions=(
        EXTENSION,
        Extension(
            "segments-peer-subnet-host-routes",
            "Segments peer-subnet host routes",
            "Add host routes to subnets on a routed network (segments)",
            "2018-06-12T10:00:00-00:00",
        ),
        Extension("segment", "Segment", "Segments extension.", "2016-02-24T17:00:00-00:00"),
        Extension(
            "standard-attr-segment",
            "Standard Attribute Segment Extension",
            "Add standard attributes to Segment resource",
            "2018-04-09T10:00:00-00:00",
        ),
        Extension(
            "multi-provider",
            "Multi Provider Network",
            "Expose mapping of virtual networks to multiple physical networks",
            "2013-06-27T10:00:00-00:00",
        ),
        Extension(
            "subnet-segmentid-writable",
            "Subnet SegmentID (writable)",
            "Provides a writable segment_id attribute for a subnet resource.",
            "2018-03-12T00:00:00-00:00",
        ),
        Extension(
            "l2_adjacency",
            "L2 Adjacency",
            "Display L2 Adjacency for Neutron Networks.",
            "2016-04-12T16:00:00-00:00",
        ),
    ),
)
