# SPDX-License-Identifier: Apache-2.0
"""What may be done with networks."""

import msgspec

from alcor.base.errors import Conflict
from alcor.features.network.model import BY_NAME, BY_PROJECT, NETWORK, SHARED, VNI_POOL, Network
from alcor.resource.declare import Computed, Context, Extension, Resource, RestFeature
from alcor.store.reader import Reader, Txn

VXLAN_OVERHEAD = 50  # bytes: outer Ethernet 14, IPv4 20, UDP 8, VXLAN 8 (RFC 7348)


def on_create(txn: Txn, ctx: Context, new: Network) -> Network:
    """The network with a VNI of its own. Raises Conflict when none is free."""
    vni = txn.allocate(VNI_POOL, "vxlan", ctx.settings.vni_ranges)
    if vni is None:
        raise Conflict(
            "Unable to create the network. No tenant network is available for allocation: every VNI of the ranges in"
            " the setting vni_ranges is in use.",
            type="NoNetworkAvailable",
        )
    return msgspec.structs.replace(new, vni=vni, mtu=ctx.settings.global_physnet_mtu - VXLAN_OVERHEAD)


def on_update(txn: Txn, ctx: Context, old: Network, new: Network) -> Network:
    """Takes what may be changed as it is."""
    return new


def on_delete(txn: Txn, ctx: Context, old: Network) -> None:
    """Nothing to add: its ports refuse through their reference, and its subnets go with it."""


def is_shared(reader: Reader, project_id: str, network: Network) -> bool:
    """Whether every project may see the network and have ports on it."""
    return network.shared


def shared_ids(reader: Reader, project_id: str) -> list[str]:
    """The networks that every project sees."""
    return [network.id for network in reader.find(NETWORK, SHARED, True)]


REST = RestFeature(
    name="network",
    resources=(
        Resource(
            name="network",
            plural="networks",
            path="networks",
            table=NETWORK,
            is_taggable=True,
            aliases=("provider", "net-mtu"),
            on_create=on_create,
            on_update=on_update,
            on_delete=on_delete,
            computed=(Computed("status", lambda reader, network: "ACTIVE", {"type": "string"}),),
            by_field={"project_id": BY_PROJECT, "name": BY_NAME},
            is_shared=is_shared,
            shared_ids=shared_ids,
            quota="network",
            doc="A layer-2 segment of a project.",
        ),
    ),
    extensions=(
        Extension(
            "provider",
            "Provider Network",
            "Expose mapping of virtual networks to physical networks",
            "2012-09-07T10:00:00-00:00",
        ),
        Extension(
            "net-mtu",
            "Network MTU",
            "Provides MTU attribute for a network resource.",
            "2015-03-25T10:00:00-00:00",
        ),
    ),
)
