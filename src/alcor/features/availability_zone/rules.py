# SPDX-License-Identifier: Apache-2.0
"""Which zones there are, and which a network may prefer."""

from collections.abc import Mapping, Sequence

from alcor.base.errors import NotFound
from alcor.features.agent.model import AGENT, BY_ZONE
from alcor.features.availability_zone.model import NETWORK_ZONES, NetworkZones
from alcor.features.network.model import Network
from alcor.resource.declare import Call, Computed, Context, Extends, Extension, RestFeature, Written
from alcor.resource.query import sifted
from alcor.store.reader import Txn

_ZONES = "availability_zones"
_NAMES: Mapping[str, object] = {"type": "array", "items": {"type": "string"}}
_NO_ZONES: Sequence[str] = ()  # of a network while no service of it stands on some hosts only


def on_list(
    txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, Sequence[str]]
) -> dict[str, object]:
    """The zones of all agents, each of which serves networks; one without an agent that is set up is unavailable."""
    ctx.require("get_availability_zone", ctx.project_id)
    is_available: dict[str, bool] = {}
    for agent in txn.scan(AGENT):
        if zone := agent.availability_zone:
            is_available[zone] = is_available.get(zone, False) or agent.admin_state_up
    zones = [
        {"name": name, "resource": "network", "state": "available" if is_so else "unavailable"}
        for name, is_so in sorted(is_available.items())
    ]
    return {_ZONES: sifted(zones, query, ("name", "resource", "state"))}


def on_network(txn: Txn, ctx: Context, written: Written[Network, NetworkZones]) -> NetworkZones:
    """Raises NotFound for a zone that no agent belongs to."""
    for zone in written.new.availability_zone_hints:
        if not txn.count(AGENT, BY_ZONE, zone):
            raise NotFound(f"AvailabilityZone {zone} could not be found.", type="AvailabilityZoneNotFound")
    return written.new


REST = RestFeature(
    name="availability_zone",
    extends=(
        Extends(
            "network",
            table=NETWORK_ZONES,
            on_write=on_network,
            computed=(Computed(_ZONES, lambda reader, network: _NO_ZONES, _NAMES, filter=False),),
        ),
    ),
    calls=(
        Call(_ZONES, "GET", on_list, collection=_ZONES, rule="get_availability_zone", doc="Zones of hosts."),
    ),
    extensions=(
        Extension(
            "availability_zone",
            "Availability Zone",
            "The availability zone extension.",
            "2015-01-01T10:00:00-00:00",
        ),
        Extension(
            "availability_zone_filter",
            "Availability Zone Filter Extension",
            "Add filter parameters to AvailabilityZone resource",
            "2018-06-22T10:00:00-00:00",
        ),
        Extension(
            "network_availability_zone",
            "Network Availability Zone",
            "Availability zone support for network.",
            "2015-01-01T10:00:00-00:00",
        ),
    ),
)
