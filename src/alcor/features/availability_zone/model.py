# SPDX-License-Identifier: Apache-2.0
"""Which zones a network prefers."""

from typing import Annotated

from alcor.features.network.model import NETWORK
from alcor.resource.declare import Api
from alcor.resource.parse import parse_tags
from alcor.store.declare import Reference, Stored, Table, own_id

HINTS_LENGTH_MAX = 255  # characters of all hints as JSON (Neutron's)


def _hints(value: object) -> tuple[str, ...]:
    hints = parse_tags(value)
    if not all(hint.strip() for hint in hints):
        raise ValueError("A zone has no name")
    if sum(len(hint) + 4 for hint in hints) > HINTS_LENGTH_MAX:
        raise ValueError("Too many availability_zone_hints specified")
    return hints


class NetworkZones(Stored, frozen=True, kw_only=True):
    """Zones that the network's services are wanted in; kept for those that are placed on hosts (DHCP)."""

    availability_zone_hints: Annotated[tuple[str, ...], Api(filter=False, parse=_hints)] = ()


NETWORK_ZONES: Table[NetworkZones] = Table(
    "network_zones", NetworkZones, references=(Reference("network", NETWORK, own_id),)
)
