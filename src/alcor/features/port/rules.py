# SPDX-License-Identifier: Apache-2.0
"""What may be done with ports, and what a host's report makes of their status."""

from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec

from alcor.base.errors import Conflict, Invalid
from alcor.features.agent.rules import can_bind
from alcor.features.network.model import NETWORK, Network
from alcor.features.network.rules import carrier, segment_on
from alcor.features.port.addresses import (
    allocate_addresses,
    free_mac,
    is_mac_free,
    is_routed,
    joined,
    without_automatic,
)
from alcor.features.port.model import (
    BY_ADDRESS,
    BY_DEVICE,
    BY_GROUP,
    BY_GROUP_SET,
    BY_HOST,
    BY_MAC,
    BY_NAME,
    BY_NETWORK,
    BY_PROJECT,
    BY_SUBNET,
    PORT,
    PORT_STATUS,
    TRUSTED_OWNER,
    FixedIp,
    Port,
    PortStatus,
    network_in_use,
    parse_mac_address,
)
from alcor.features.port.pairs import (
    AllowedPair,
    check_distinct,
    pairs_need_port_security,
    too_many_pairs,
)
from alcor.features.security_group.model import GROUP_SET
from alcor.features.security_group.rules import default_group, group_set_of, visible_group
from alcor.features.subnet.model import SUBNET, Subnet
from alcor.goal.declare import Report
from alcor.resource.declare import (
    Computed,
    Context,
    Extends,
    Extension,
    Notice,
    Resource,
    RestFeature,
    revised,
)
from alcor.store.declare import Change
from alcor.store.reader import Reader, Txn

SERVICE_OWNERS = ("network:dhcp", "network:distributed")  # of ports that go with what they serve
SERVICE_PORTS_MAX = (
    64  # where a network or subnet has more, others are among them: its deletion is refused anyway
)


def on_create(txn: Txn, ctx: Context, new: Port) -> Port:
    """The port with MAC, addresses, groups and binding. Raises what of these is refused."""
    network = ctx.visible(txn, NETWORK, new.network_id)

    mac = new.mac_address
    if not mac:
        mac = free_mac(txn, ctx, network.id)
    elif not is_mac_free(txn, network.id, mac):
        raise _mac_in_use(network.id, mac)
    new = msgspec.structs.replace(new, mac_address=mac, **_security(txn, ctx, network, new))
    wanted = new.fixed_ips if "fixed_ips" in ctx.given and new.fixed_ips is not None else None
    given = allocate_addresses(txn, ctx, new, wanted)
    new = msgspec.structs.replace(
        new,
        fixed_ips=given,
        ip_allocation="none" if wanted == () else _when_allocated(txn, new, given),
        vif_type=vif_type_on(txn, new, new.host),
        generation=1,
    )
    if new.allowed_address_pairs:
        new = _with_pairs(ctx, new)
    return device_bound(txn, ctx, _with_profile(ctx, new))


def on_update(txn: Txn, ctx: Context, old: Port, new: Port) -> Port:
    """The changed port; a change of host or vNIC type binds it anew."""
    network = txn.get(NETWORK, old.network_id)
    if not new.mac_address:
        new = msgspec.structs.replace(new, mac_address=free_mac(txn, ctx, network.id))
    if new.mac_address != old.mac_address:
        _check_mac_change(txn, old, new)
    if "fixed_ips" in ctx.given or (new.mac_address != old.mac_address and old.fixed_ips):
        new = msgspec.structs.replace(new, fixed_ips=_changed_addresses(txn, ctx, old, new))
    elif new.host and new.host != old.host:
        new = _on_segment(txn, ctx, new)
    new = _with_groups(txn, ctx, old, new)
    if new.allowed_address_pairs:
        new = _with_pairs(ctx, new)
    new = _with_profile(ctx, new)
    if (
        new.host != old.host
        or new.vnic_type != old.vnic_type
        or (old.host and old.vif_type == "binding_failed")
    ):
        new = device_bound(txn, ctx, bound(txn, new, new.host))
    elif new.profile != old.profile:
        new = device_bound(txn, ctx, new)
    _drop_unused_set(txn, old, new)
    return new


def on_delete(txn: Txn, ctx: Context, old: Port) -> None:
    """Gives back the number of its set of groups; addresses and MAC are free by themselves."""
    _drop_unused_set(txn, old, None)


def _mac_in_use(network_id: str, mac: str) -> Conflict:
    return Conflict(
        f"Unable to complete operation for network {network_id}. The mac address {mac} is in use.",
        type="MacAddressInUse",
    )


def _check_mac_change(txn: Txn, old: Port, new: Port) -> None:
    if old.is_bound:
        raise Conflict(
            f"Unable to complete operation on port {old.id}, port is already bound, port type: {old.vif_type},"
            f" old_mac {old.mac_address}, new_mac {new.mac_address}.",
            type="PortBound",
        )
    if not is_mac_free(txn, old.network_id, new.mac_address, but=old.id):
        raise _mac_in_use(old.network_id, new.mac_address)


def _security(txn: Txn, ctx: Context, network: Network, new: Port) -> dict[str, object]:
    is_trusted = new.device_owner.startswith(TRUSTED_OWNER)
    enabled = new.port_security_enabled
    if "port_security_enabled" not in ctx.given:
        enabled = network.port_security_enabled and not is_trusted
    groups = new.security_groups or ()
    if groups and not enabled:
        raise _needs_port_security()
    for group in groups:
        visible_group(txn, ctx, group)
    says_nothing = "security_groups" not in ctx.given or new.security_groups is None
    if says_nothing and enabled and not is_trusted:
        groups = (default_group(txn, ctx, new.project_id).id,)
    return {
        "port_security_enabled": enabled,
        "security_groups": groups,
        "group_set": group_set_of(txn, groups),
    }


def _needs_port_security() -> Invalid:
    return Invalid(
        "Port security must be enabled in order to have allowed address pairs and/or security groups on a port.",
        type="PortSecurityAndIPRequiredForSecurityGroups",
    )


def _with_groups(txn: Txn, ctx: Context, old: Port, new: Port) -> Port:
    groups = new.security_groups or ()
    if not new.port_security_enabled and groups:
        if "security_groups" in ctx.given:
            raise _needs_port_security()
        raise Conflict(
            f"Port {old.id} has security groups. Remove them before port security is disabled.",
            type="PortSecurityPortHasSecurityGroup",
        )
    if set(groups) == set(old.security_groups):
        return msgspec.structs.replace(new, security_groups=groups)
    for group in set(groups) - set(old.security_groups):
        visible_group(txn, ctx, group)
    return msgspec.structs.replace(new, security_groups=groups, group_set=group_set_of(txn, groups))


def _with_pairs(ctx: Context, port: Port) -> Port:
    """The port with its own MAC in the pairs that name none. Raises what Neutron refuses of them."""
    if not port.port_security_enabled:
        raise pairs_need_port_security()
    if "allowed_address_pairs" not in ctx.given:
        return port
    if len(port.allowed_address_pairs) > ctx.settings.address_pairs_max:
        raise too_many_pairs(ctx.settings.address_pairs_max)
    pairs = tuple(
        AllowedPair(pair.mac_address or port.mac_address, pair.ip_address)
        for pair in port.allowed_address_pairs
    )
    check_distinct(pairs)
    return msgspec.structs.replace(port, allowed_address_pairs=pairs)


def _drop_unused_set(txn: Txn, old: Port, new: Port | None) -> None:
    """Removes the number of the old set of groups when this port was the last to have it."""
    is_left = old.group_set and (new is None or new.group_set != old.group_set)
    if is_left and txn.count(PORT, BY_GROUP_SET, old.group_set) == 1:
        txn.delete(GROUP_SET, str(old.group_set))


def _changed_addresses(txn: Txn, ctx: Context, old: Port, new: Port) -> tuple[FixedIp, ...]:
    """The addresses asked for; an entry that names only a subnet keeps the address that the port already has there.
    With another MAC come other automatic ones.
    """
    spare, wanted = list(old.fixed_ips), list(new.fixed_ips or ())
    if new.mac_address != old.mac_address:
        spare, wanted = without_automatic(txn, old, spare), without_automatic(txn, old, wanted)
    asked = []
    for fixed in wanted:
        kept = [own for own in spare if own.subnet_id == fixed.subnet_id] if not fixed.ip_address else []
        asked.append(kept[0] if kept else fixed)
        if asked[-1] in spare:
            spare.remove(asked[-1])
    return allocate_addresses(txn, ctx, new, asked)


def _when_allocated(txn: Txn, port: Port, given: Sequence[FixedIp]) -> str:
    """`deferred` where a routed network's port waits for a host: only that tells which addresses are of use."""
    return "immediate" if given or port.host or not is_routed(txn, port.network_id) else "deferred"


def _on_segment(txn: Txn, ctx: Context, port: Port) -> Port:
    """The port that comes to a host, with addresses where it waited for them. Raises Conflict where its own are of no
    use there.
    """
    if port.ip_allocation == "deferred" and not port.fixed_ips:
        return msgspec.structs.replace(port, fixed_ips=allocate_addresses(txn, ctx, port, None))
    check_host(txn, port)
    return port


def check_host(txn: Txn, port: Port) -> None:
    """Raises Conflict where the port's addresses are of no use on its host: they are another segment's."""
    subnets = [txn.get(SUBNET, fixed.subnet_id) for fixed in port.fixed_ips or ()]
    needed = {subnet.segment_id for subnet in subnets if subnet.segment_id}
    if not needed:
        return
    segment = segment_on(txn, txn.get(NETWORK, port.network_id), port.host)
    if segment is None or needed != {segment.id}:
        raise Conflict(
            f"Host {port.host} is not connected to a segment where the existing fixed_ips on port {port.id} will"
            " function given the routed network topology.",
            type="HostNotCompatibleWithFixedIps",
        )


def bound(txn: Txn, port: Port, host: str) -> Port:
    """The port bound to `host` in a new generation, so that no report about an earlier binding counts for it."""
    vif_type = vif_type_on(txn, port, host)
    return msgspec.structs.replace(port, host=host, vif_type=vif_type, generation=port.generation + 1)


def device_bound(txn: Txn, ctx: Context, port: Port) -> Port:
    """The port with the MAC of its device, where it is a whole physical one and its profile tells the MAC; once it has
    none any more, with one of ours. Raises what Neutron refuses of that MAC.
    """
    if port.vnic_type != "direct-physical":
        return port
    told = port.profile.get("device_mac_address") if port.host else None
    if told is None:
        is_ours = port.mac_address.startswith(ctx.settings.base_mac[:8])
        mac = port.mac_address if is_ours else free_mac(txn, ctx, port.network_id)
        return msgspec.structs.replace(port, mac_address=mac)
    try:
        mac = parse_mac_address(told)
    except ValueError as wrong:
        raise Invalid(f"Invalid input for binding:profile. Reason: {wrong}") from None
    if not is_mac_free(txn, port.network_id, mac, but=port.id):
        raise _mac_in_use(port.network_id, mac)
    return msgspec.structs.replace(port, mac_address=mac)


def _with_profile(ctx: Context, port: Port) -> Port:
    """The port with what Nova is told by its binding profile: capabilities of its device, and that it is trusted."""
    profile = port.profile
    kind = port.hardware_offload_type
    if kind and kind not in (known := _listed(profile.get("capabilities"))):
        profile = {**profile, "capabilities": [*known, kind]}
    if port.trusted is not None and profile.get("trusted") != port.trusted:
        profile = {**profile, "trusted": port.trusted}
    return port if profile is port.profile else msgspec.structs.replace(port, profile=profile)


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def vif_type_on(txn: Txn, port: Port, host: str) -> str:
    """How the port would be carried by `host`: `ovs`, or `binding_failed`; `unbound` by none."""
    if not host:
        return "unbound"
    is_possible = (
        port.vnic_type == "normal"
        and can_bind(txn, host)
        and carrier(txn, txn.get(NETWORK, port.network_id), host) is not None
    )
    return "ovs" if is_possible else "binding_failed"


def join_automatic(txn: Txn, ctx: Context, subnet: Subnet) -> None:
    """Gives the network's ports the address that such a subnet gives every port."""
    if not subnet.is_auto_address:
        return
    for port in txn.find(PORT, BY_NETWORK, subnet.network_id):
        addresses = joined(txn, port, subnet)
        if addresses != port.fixed_ips:
            txn.update(PORT, revised(ctx, port, fixed_ips=addresses))


def leave_network(txn: Txn, ctx: Context, network: Network) -> None:
    """Takes the network's services' ports with it. Raises Conflict for others."""
    if txn.count(PORT, BY_NETWORK, network.id) > SERVICE_PORTS_MAX:
        return
    ports = tuple(txn.find(PORT, BY_NETWORK, network.id))
    used = [port.id for port in ports if port.device_owner not in SERVICE_OWNERS]
    if used:
        raise network_in_use(network, used)
    for port in ports:
        on_delete(txn, ctx, port)
        txn.delete(PORT, port.id)


def leave_automatic(txn: Txn, ctx: Context, subnet: Subnet) -> None:
    """Takes from ports the addresses that they have of a subnet only because it gives every port one, and from those
    of services the ones by which they serve it.
    """
    is_automatic = subnet.is_auto_address
    if not is_automatic and txn.count(PORT, BY_SUBNET, subnet.id) > SERVICE_PORTS_MAX:
        return
    for port in tuple(txn.find(PORT, BY_SUBNET, subnet.id)):
        if not is_automatic and port.device_owner not in SERVICE_OWNERS:
            continue
        left = tuple(fixed for fixed in port.fixed_ips if fixed.subnet_id != subnet.id)
        txn.update(PORT, revised(ctx, port, fixed_ips=left))


def on_reports(txn: Txn, host: str, reports: Sequence[Report]) -> None:
    """Writes down what the port's own host says of its present binding; what anybody says of another is ignored."""
    for report in reports:
        port = txn.peek(PORT, report.key)
        if port is None or port.host != host or port.generation != report.generation:
            continue
        seen = PortStatus(
            id=port.id, generation=report.generation, is_realised=report.is_realised, reason=report.reason
        )
        known = txn.peek(PORT_STATUS, port.id)
        if known is None:
            txn.insert(PORT_STATUS, seen)
        elif known != seen:
            txn.update(PORT_STATUS, seen)


def status(reader: Reader, port: Port) -> str:
    """ACTIVE when the host of the present binding has realised the port; silence does not change it (design 2.6)."""
    return "ACTIVE" if _is_active(port, reader.peek(PORT_STATUS, port.id)) else "DOWN"


def _is_active(port: Port, seen: PortStatus | None) -> bool:
    return (
        port.is_bound
        and port.admin_state_up
        and seen is not None
        and seen.generation == port.generation
        and seen.is_realised
    )


def _vif_details(reader: Reader, port: Port) -> dict[str, object]:
    return vif_details(is_bound=port.is_bound)


def vif_details(*, is_bound: bool) -> dict[str, object]:
    """What a bound port's machine is plugged in by."""
    if not is_bound:
        return {}
    return {"port_filter": True, "connectivity": "l2", "bridge_name": "br-int", "bound_drivers": {"0": "ovs"}}


def notices(reader: Reader, change: Change) -> Iterator[Notice]:
    """What Nova waits for or shows, as Neutron's notifier tells it, of ports of its machines."""
    old, new = change.old, change.new
    if change.table == PORT.name and new is None:
        if is_machines(old):
            yield Notice(old.device_id, "network-vif-deleted", old.id)
    elif change.table == PORT.name and old is not None:
        seen = reader.peek(PORT_STATUS, new.id)
        is_here = old.generation == new.generation  # what its next host says is a change of its own
        yield from _status_notices(new, was=_is_active(old, seen), now=is_here and _is_active(new, seen))
        if is_machines(new):
            yield Notice(new.device_id, "network-changed", new.id)
    elif change.table == PORT_STATUS.name and new is not None:
        port = reader.peek(PORT, change.id)
        if port is not None:
            yield from _status_notices(port, was=_is_active(port, old), now=_is_active(port, new))


def is_machines(port: Port) -> bool:
    """Whether Nova can know the device: one id in a request that is none makes Nova refuse the whole of it."""
    try:
        UUID(port.device_id)
    except ValueError:
        return False
    return port.device_owner.startswith("compute:")


def _status_notices(port: Port, *, was: bool, now: bool) -> Iterator[Notice]:
    if was != now and is_machines(port):
        yield plugged(port) if now else Notice(port.device_id, "network-vif-unplugged", port.id, "completed")


def plugged(port: Port) -> Notice:
    """What Nova waits for before it starts a machine, or begins to move it."""
    return Notice(port.device_id, "network-vif-plugged", port.id, "completed")


REST = RestFeature(
    name="port",
    notices=notices,
    resources=(
        Resource(
            name="port",
            plural="ports",
            path="ports",
            table=PORT,
            is_taggable=True,
            is_tagged_at_create=True,
            aliases=(
                "aap-reject-multicast",
                "allowed-address-pairs",
                "binding",
                "ip-substring-filtering",
                "ip_allocation",
                "port-hardware-offload-type",
                "port-mac-address-regenerate",
                "port-mac-override",
                "port-security",
                "port-security-groups-filtering",
                "port-trusted-vif",
            ),
            on_create=on_create,
            on_update=on_update,
            on_delete=on_delete,
            computed=(
                Computed("status", status, {"type": "string", "enum": ["ACTIVE", "DOWN"]}, sort=True),
                Computed(
                    "binding:vif_details", _vif_details, {"type": "object"}, filter=False, seen_by="admin"
                ),
            ),
            by_field={
                "project_id": BY_PROJECT,
                "name": BY_NAME,
                "network_id": BY_NETWORK,
                "device_id": BY_DEVICE,
                "host": BY_HOST,
                "mac_address": BY_MAC,
                "security_groups": BY_GROUP,
                "fixed_ips.ip_address": BY_ADDRESS,
                "fixed_ips.subnet_id": BY_SUBNET,
            },
            quota="port",
            is_marker_needed=True,
            doc="An interface of a network.",
        ),
    ),
    extends=(
        Extends("network", on_delete=leave_network),
        Extends("subnet", after_create=join_automatic, on_delete=leave_automatic),
    ),
    extensions=(
        Extension(
            "aap-reject-multicast",
            "Allowed address pairs reject multicast extension",
            "Reject multicast addresses in Allowed Address Pairs",
            "2026-04-01T00:00:00-00:00",
        ),
        Extension(
            "allowed-address-pairs",
            "Allowed Address Pairs",
            "Provides allowed address pairs",
            "2013-07-23T10:00:00-00:00",
        ),
        Extension(
            "binding",
            "Port Binding",
            "Expose port bindings of a virtual port to external application",
            "2014-02-03T10:00:00-00:00",
        ),
        Extension(
            "ip-substring-filtering",
            "IP address substring filtering",
            "Provides IP address substring filtering when listing ports",
            "2017-11-28T09:00:00-00:00",
        ),
        Extension("ip_allocation", "IP Allocation", "IP allocation extension.", "2016-06-10T23:00:00-00:00"),
        Extension(
            "port-hardware-offload-type",
            "Port hardware offload",
            "Expose port hardware offload extension",
            "2023-05-09T10:00:00-00:00",
        ),
        Extension(
            "port-mac-address-regenerate",
            "Neutron Port MAC address regenerate",
            "Network port MAC address regenerate",
            "2018-05-03T10:00:00-00:00",
        ),
        Extension(
            "port-mac-override",
            "Neutron Port MAC address override",
            "Allow overriding the MAC address of a direct-physical Port via the active binding profile",
            "2022-03-18T10:00:00-00:00",
        ),
        Extension(
            "port-trusted-vif",
            "Port trusted vif",
            "Expose port 'trusted' attribute in the API",
            "2024-07-10T10:00:00-00:00",
        ),
        Extension("port-security", "Port Security", "Provides port security", "2012-07-23T10:00:00-00:00"),
        Extension(
            "port-security-groups-filtering",
            "Port filtering on security groups",
            "Provides security groups filtering when listing ports",
            "2018-01-09T09:00:00-00:00",
        ),
    ),
)
