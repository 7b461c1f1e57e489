# SPDX-License-Identifier: Apache-2.0
"""What a trunk is, and that its ports are no other trunk's."""

from collections import Counter
from typing import Annotated

import msgspec

from alcor.base.config import VLAN_MAX
from alcor.base.errors import Conflict
from alcor.features.port.model import PORT, Port
from alcor.resource.declare import Api, Standard
from alcor.resource.parse import parse_int, parse_uuid, shown
from alcor.store.declare import Guard, Index, Reference, Table
from alcor.store.reader import Reader

INHERIT, VLAN = "inherit", "vlan"  # segmentation types


class SubPort(msgspec.Struct, frozen=True, gc=False):
    """A port whose frames come and go by the trunk's interface, with this tag."""

    port_id: str
    segmentation_type: str = ""  # in a request: as the port's network, if `inherit`
    segmentation_id: int = 0


def parse_sub_ports(value: object) -> tuple[SubPort, ...]:
    """Subports as asked for. Raises ValueError, also for a port or a tag given twice."""
    subs = tuple(_parse_sub_port(entry) for entry in _entries(value))
    tags = Counter(sub.segmentation_id for sub in subs if sub.segmentation_type != INHERIT)
    for sub in subs:
        if tags[sub.segmentation_id] > 1:
            raise ValueError(f"Segmentation ID '{sub.segmentation_id}' for '{sub.port_id}' is not unique")
    return subs


def parse_port_ids(value: object) -> tuple[str, ...]:
    """The ports of subports, whatever else is said of these. Raises ValueError, also for a port given twice."""
    return tuple(parse_uuid(entry["port_id"]) for entry in _entries(value))


def _entries(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list):
        raise ValueError(f"Invalid data format for subports: '{shown(value)}' is not a list")
    seen: set[object] = set()
    for entry in value:
        if not isinstance(entry, dict):
            raise ValueError(f"Invalid data format for subport: '{shown(entry)}' is not a dict")
        if "port_id" not in entry:
            raise ValueError("A valid port UUID must be specified")
        port_id = parse_uuid(entry["port_id"])
        if port_id in seen:
            raise ValueError(f"Non unique UUID for subport: '{port_id}'")
        seen.add(port_id)
    return value


def _parse_sub_port(entry: dict[str, object]) -> SubPort:
    port_id = parse_uuid(entry["port_id"])
    kind, number = entry.get("segmentation_type"), entry.get("segmentation_id")
    if kind == INHERIT:
        return SubPort(port_id, INHERIT)
    if not kind or number is None:
        raise ValueError(
            f"Invalid subport details '{shown(entry)}': missing segmentation information. "
            "Must specify both segmentation_id and segmentation_type"
        )
    if kind != VLAN:
        raise ValueError(f"Unknown segmentation_type '{shown(kind)}'")
    tag = parse_int(number)
    if not 1 <= tag <= VLAN_MAX:
        raise ValueError(f"Segmentation ID '{tag}' is not in range")
    return SubPort(port_id, VLAN, tag)


class Trunk(Standard, frozen=True, kw_only=True):
    """A port with subports. `admin_state_up` false refuses other subports, and stops no packets."""

    name: Annotated[str, Api(put=True, max_length=255)] = ""
    admin_state_up: Annotated[bool, Api(put=True)] = True
    port_id: Annotated[str, Api(required=True, parse=parse_uuid)]
    sub_ports: Annotated[tuple[SubPort, ...], Api(parse=parse_sub_ports, filter=False, sort=False)] = ()


def parent_in_use(port_id: object) -> Conflict:
    """The refusal of a port that already is a trunk's own, or that Open vSwitch does not carry."""
    return Conflict(
        f"Port {port_id} is currently in use and is not eligible for use as a parent port.",
        type="ParentPortInUse",
    )


def subport_in_use(port_id: object) -> Conflict:
    """The refusal of a port that already is a subport."""
    return Conflict(f"Port {port_id} is in use by another trunk.", type="TrunkPortInUse")


BY_PROJECT: Index[Trunk] = Index("project_id", lambda trunk: (trunk.project_id,))
BY_PORT: Index[Trunk] = Index(
    "port_id", lambda trunk: (trunk.port_id,), unique=True, taken=lambda trunk, key: parent_in_use(key)
)
BY_SUBPORT: Index[Trunk] = Index(
    "sub_ports",
    lambda trunk: [sub.port_id for sub in trunk.sub_ports],
    unique=True,
    taken=lambda trunk, key: subport_in_use(key),
)

TRUNK: Table[Trunk] = Table(
    "trunk",
    Trunk,
    indexes=(BY_PROJECT, BY_PORT, BY_SUBPORT),
    references=(
        Reference(
            "port_id",
            PORT,
            lambda trunk: (trunk.port_id,),
            in_use=lambda port: Conflict(
                f"Port {port.id} is currently a parent port for a trunk; delete the trunk first.",
                type="PortInUseAsTrunkParent",
            ),
            by=BY_PORT,
        ),
        Reference(
            "sub_ports",
            PORT,
            lambda trunk: [sub.port_id for sub in trunk.sub_ports],
            in_use=lambda port: _in_use_as_subport(port.id),
            by=BY_SUBPORT,
        ),
    ),
)


def _in_use_as_subport(port_id: str) -> Conflict:
    return Conflict(
        f"Port {port_id} is currently a subport for a trunk; remove it from there first.",
        type="PortInUseAsSubPort",
    )


def stays_with_trunk(reader: Reader, old: Port | None, new: Port | None) -> None:
    """Raises Conflict where a subport would be bound to another host than its trunk's port."""
    if old is None or new is None or not new.trunk_port or new.host == old.host:
        return
    if new.host != reader.get(PORT, new.trunk_port).host:
        raise _in_use_as_subport(new.id)


STAYS_WITH_TRUNK: Guard[Port] = Guard(PORT, stays_with_trunk)
