# SPDX-License-Identifier: Apache-2.0
"""What may be done with trunks; that their subports are bound where their port is; and how they fare there."""

from collections.abc import Mapping, Sequence

import msgspec

from alcor.base.errors import Conflict, Invalid, NotFound
from alcor.features.network.model import NETWORK
from alcor.features.network.rules import carrier
from alcor.features.port.model import CARRIED, NUMBERS, PORT, PORT_STATUS, SUBPORT_NUMBERS, Port
from alcor.features.port.rules import bound
from alcor.features.port.rules import status as port_status
from alcor.features.trunk.model import (
    BY_PORT,
    BY_PROJECT,
    BY_SUBPORT,
    INHERIT,
    TRUNK,
    VLAN,
    SubPort,
    Trunk,
    parent_in_use,
    parse_port_ids,
    parse_sub_ports,
    subport_in_use,
)
from alcor.resource.declare import (
    Action,
    Computed,
    Context,
    Extends,
    Extension,
    Resource,
    RestFeature,
    revised,
)
from alcor.store.reader import Reader, Txn

SUBPORT_OWNER = "trunk:subport"

Body = Mapping[str, object]


def on_create(txn: Txn, ctx: Context, new: Trunk) -> Trunk:
    """The trunk, its subports bound with its port."""
    parent = ctx.visible(txn, PORT, new.port_id)
    if txn.count(TRUNK, BY_SUBPORT, parent.id):
        raise subport_in_use(parent.id)
    if txn.count(TRUNK, BY_PORT, parent.id) or (parent.host and not parent.is_bound):
        raise parent_in_use(parent.id)
    _check_tags(txn, parent)
    empty = msgspec.structs.replace(new, sub_ports=())
    return msgspec.structs.replace(new, sub_ports=_joined(txn, ctx, empty, new.sub_ports))


def on_update(txn: Txn, ctx: Context, old: Trunk, new: Trunk) -> Trunk:
    """Takes it as it is."""
    return new


def on_delete(txn: Txn, ctx: Context, old: Trunk) -> None:
    """Lets its subports go. Raises Conflict where it is administratively down."""
    _check_enabled(old)
    for sub in old.sub_ports:
        _let_go(txn, ctx, sub.port_id)


def add_subports(txn: Txn, ctx: Context, trunk: Trunk, body: Body) -> dict[str, object]:
    """The trunk with more subports."""
    try:
        asked = parse_sub_ports(body.get("sub_ports"))
    except ValueError as wrong:
        raise _invalid(str(wrong)) from None
    _check_enabled(trunk)
    trunk = revised(ctx, trunk, sub_ports=(*trunk.sub_ports, *_joined(txn, ctx, trunk, asked)))
    txn.update(TRUNK, trunk)
    return _shown(txn, trunk)


def remove_subports(txn: Txn, ctx: Context, trunk: Trunk, body: Body) -> dict[str, object]:
    """The trunk with fewer subports."""
    try:
        gone = parse_port_ids(body.get("sub_ports"))
    except ValueError as wrong:
        raise _invalid(str(wrong)) from None
    _check_enabled(trunk)
    for port_id in gone:
        if port_id not in {sub.port_id for sub in trunk.sub_ports}:
            raise NotFound(
                f"SubPort {port_id} on trunk {trunk.id} could not be found.", type="SubPortNotFound"
            )
        _let_go(txn, ctx, port_id)
    left = tuple(sub for sub in trunk.sub_ports if sub.port_id not in gone)
    trunk = revised(ctx, trunk, sub_ports=left)
    txn.update(TRUNK, trunk)
    return _shown(txn, trunk)


def get_subports(txn: Txn, ctx: Context, trunk: Trunk, query: Body) -> dict[str, Sequence[SubPort]]:
    """The subports alone."""
    return {"sub_ports": trunk.sub_ports}


def follow(txn: Txn, ctx: Context, parent: Port) -> None:
    """Binds the subports of a trunk's port, which was bound anew, where it is."""
    for port in txn.find(PORT, CARRIED, parent.id):
        txn.update(PORT, carried(txn, ctx, port, parent))


def status(reader: Reader, trunk: Trunk) -> str:
    """DOWN as the trunk's port is; else BUILD until the host said of all subports how they fare there."""
    if port_status(reader, reader.get(PORT, trunk.port_id)) != "ACTIVE":
        return "DOWN"
    ports = [reader.get(PORT, sub.port_id) for sub in trunk.sub_ports]
    waiting = [port for port in ports if port.admin_state_up and port_status(reader, port) != "ACTIVE"]
    if any(_has_failed(reader, port) for port in waiting):
        return "DEGRADED"
    return "BUILD" if waiting else "ACTIVE"


def trunk_details(reader: Reader, port: Port) -> object:
    """The trunk whose port this is; nothing at all for others."""
    trunk = reader.first(TRUNK, BY_PORT, port.id)
    if trunk is None:
        return msgspec.UNSET
    subs = [
        {**msgspec.structs.asdict(sub), "mac_address": reader.get(PORT, sub.port_id).mac_address}
        for sub in trunk.sub_ports
    ]
    return {"trunk_id": trunk.id, "sub_ports": subs}


def _on_port_update(txn: Txn, ctx: Context, old: Port, new: Port) -> None:
    if new.generation != old.generation:
        follow(txn, ctx, new)


def _joined(txn: Txn, ctx: Context, trunk: Trunk, asked: Sequence[SubPort]) -> tuple[SubPort, ...]:
    """The subports asked for, with tags, once they are bound with the trunk's port. Raises what of them is refused."""
    parent = txn.get(PORT, trunk.port_id)
    used = {sub.segmentation_id for sub in trunk.sub_ports}
    subs = []
    for wanted in asked:
        port = ctx.visible(txn, PORT, wanted.port_id)
        _check_free(txn, parent, port)
        sub = _tagged(txn, parent, port, wanted)
        if sub.segmentation_id in used:
            raise Conflict(
                f"segmentation_type {sub.segmentation_type} and segmentation_id {sub.segmentation_id} already in use "
                f"on trunk {trunk.id}.",
                type="DuplicateSubPort",
            )
        used.add(sub.segmentation_id)
        subs.append(sub)
        joining = msgspec.structs.replace(
            port, trunk_port=parent.id, vlan=sub.segmentation_id, device_owner=SUBPORT_OWNER
        )
        txn.update(PORT, carried(txn, ctx, joining, parent))
    return tuple(subs)


def _check_free(txn: Txn, parent: Port, port: Port) -> None:
    if port.id == parent.id or txn.count(TRUNK, BY_PORT, port.id):
        raise parent_in_use(port.id)
    if port.trunk_port:
        raise subport_in_use(port.id)
    if port.device_id:
        raise Conflict(
            f"Unable to complete operation on port {port.id} for network {port.network_id}. "
            f"Port already has an attached device {port.device_id}.",
            type="PortInUse",
        )
    _check_tags(txn, port)
    most, mtu = (txn.get(NETWORK, each.network_id).mtu for each in (parent, port))
    if mtu > most:
        raise Conflict(
            f"MTU {mtu} of subport {port.id} cannot be greater than MTU {most} of trunk {parent.id}.",
            type="SubPortMtuGreaterThanTrunkPortMtu",
        )


def _check_tags(txn: Txn, port: Port) -> None:
    """Raises Invalid for a port of a network whose machines have tags of their own: others could pass for a subport."""
    if txn.get(NETWORK, port.network_id).vlan_transparent:
        raise _invalid(
            f"Port {port.id} is on VLAN transparent network {port.network_id}, where trunks have no tags"
        )


def _tagged(txn: Txn, parent: Port, port: Port, wanted: SubPort) -> SubPort:
    """The subport with its tag; inherited, it is that of the segment by which its network comes to the trunk's host,
    and of the first while there is none.
    """
    if wanted.segmentation_type != INHERIT:
        return wanted
    network = txn.get(NETWORK, port.network_id)
    way = (carrier(txn, network, parent.host) if parent.host else None) or network.providers[0]
    if way.network_type != VLAN or way.segmentation_id is None:
        raise _invalid(f"Unknown segmentation_type '{way.network_type}'")
    return SubPort(port.id, VLAN, way.segmentation_id)


def carried(txn: Txn, ctx: Context, port: Port, parent: Port) -> Port:
    """The subport bound where its trunk's port is, with a number there."""
    port = bound(txn, revised(ctx, port), parent.host)
    if port.is_bound and not parent.is_bound:
        port = msgspec.structs.replace(port, vif_type=parent.vif_type)
    return msgspec.structs.replace(port, number=number_on(txn, ctx, parent.host) if parent.host else 0)


def number_on(txn: Txn, ctx: Context, host: str) -> int:
    """A free one, from anywhere: connections of who had it last may still be tracked by it."""
    first, last = SUBPORT_NUMBERS
    start = first + ctx.random_bits(15) % (last - first + 1)
    number = txn.allocate(NUMBERS, host, ((start, last), (first, start - 1)))
    if number is None:
        raise Conflict(f"Host {host} has no room for more subports.", type="SubPortBindingError")
    return number


def _let_go(txn: Txn, ctx: Context, port_id: str) -> None:
    free = {"trunk_port": "", "vlan": 0, "number": 0, "waiting_numbers": (), "device_owner": ""}
    txn.update(PORT, bound(txn, revised(ctx, txn.get(PORT, port_id), **free), ""))


def _has_failed(reader: Reader, port: Port) -> bool:
    seen = reader.peek(PORT_STATUS, port.id)
    return not port.is_bound or (
        seen is not None and seen.generation == port.generation and not seen.is_realised
    )


def _check_enabled(trunk: Trunk) -> None:
    if not trunk.admin_state_up:
        raise Conflict(f"Trunk {trunk.id} is currently disabled.", type="TrunkDisabled")


def _invalid(reason: str) -> Invalid:
    return Invalid(f"Invalid input for operation: {reason}.", type="InvalidInput")


def _shown(reader: Reader, trunk: Trunk) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(trunk),
        "tenant_id": trunk.project_id,
        "status": status(reader, trunk),
    }


def _sub_ports() -> dict[str, object]:
    """The JSON schema of what the actions speak of."""
    return {"type": "object", "properties": {"sub_ports": {"type": "array", "items": {"type": "object"}}}}


REST = RestFeature(
    name="trunk",
    resources=(
        Resource(
            name="trunk",
            plural="trunks",
            path="trunks",
            table=TRUNK,
            is_taggable=True,
            aliases=("trunk", "trunk-details"),
            on_create=on_create,
            on_update=on_update,
            on_delete=on_delete,
            computed=(
                Computed(
                    "status",
                    status,
                    {"type": "string", "enum": ["ACTIVE", "BUILD", "DEGRADED", "DOWN"]},
                    sort=True,
                ),
            ),
            by_field={"project_id": BY_PROJECT, "port_id": BY_PORT},
            actions=(
                Action("add_subports", "PUT", add_subports, takes=_sub_ports(), doc="Adds subports."),
                Action(
                    "remove_subports", "PUT", remove_subports, takes=_sub_ports(), doc="Removes subports."
                ),
                Action(
                    "get_subports", "GET", get_subports, answers=_sub_ports(), doc="The subports of a trunk."
                ),
            ),
            quota="trunk",
            doc="A port that carries the frames of others, told apart by VLAN tags.",
        ),
    ),
    extends=(
        Extends(
            "port",
            computed=(Computed("trunk_details", trunk_details, {"type": "object"}, filter=False),),
            on_update=_on_port_update,
        ),
    ),
    extensions=(
        Extension(
            "trunk", "Trunk Extension", "Provides support for trunk ports", "2016-01-01T10:00:00-00:00"
        ),
        Extension(
            "trunk-details", "Trunk port details", "Expose trunk port details", "2016-01-01T10:00:00-00:00"
        ),
    ),
)
