# SPDX-License-Identifier: Apache-2.0
"""Who must know of a port: its own host everything, and the hosts of its network where its addresses are."""

from collections.abc import Iterator

from alcor.features.agent.model import HOST
from alcor.features.port.flows import (
    AddressPair,
    FloodRow,
    NeighbourRow,
    PortRow,
    SharedAddressRow,
    SharedMacRow,
    shared_key,
)
from alcor.features.port.model import PORT, Port
from alcor.features.port.rules import on_reports
from alcor.goal.declare import Derivation, GoalFeature, Need, Observer, Placed, View, host_scope


def port_rows(view: View, port: Port) -> Iterator[Placed]:
    """The port on its host; where it is, for the hosts of its network; and that its host has a port there."""
    if not port.is_bound:
        return
    row = port_row(port)
    yield Placed(host_scope(port.host), port.id, row)

    host = view.peek(HOST, port.host)
    if host is None or not port.admin_state_up:
        return
    neighbour = NeighbourRow(
        mac=port.mac_address,
        addresses=row.addresses,
        pairs=row.pairs,
        host=port.host,
        tunnel_ip=host.tunnel_ip,
        group_set=port.group_set,
        generation=port.generation,
    )
    yield Placed(f"neighbours:{port.network_id}", port.id, neighbour)
    yield Placed(f"flood:{port.network_id}", port.host, FloodRow(host=port.host, tunnel_ip=host.tunnel_ip))
    yield from shared_rows(port)


def port_row(port: Port) -> PortRow:
    """The port as a host of its own must know it."""
    return PortRow(
        id=port.id,
        network=port.network_id,
        mac=port.mac_address,
        addresses=tuple(fixed.ip_address for fixed in port.fixed_ips),
        pairs=tuple(AddressPair(mac=pair.mac_address, cidr=pair.cidr) for pair in port.allowed_address_pairs),
        port_security=port.port_security_enabled,
        admin_state_up=port.admin_state_up,
        group_set=port.group_set,
        groups=port.security_groups,
        generation=port.generation,
        trunk_port=port.trunk_port,
        vlan=port.vlan,
        number=port.number,
    )


def shared_rows(port: Port) -> Iterator[Placed]:
    """The MACs and addresses that the port may have beside others: a row each, however many ports may."""
    scope = f"neighbours:{port.network_id}"
    for mac in {pair.mac_address for pair in port.allowed_address_pairs} - {port.mac_address}:
        yield Placed(scope, shared_key(mac), SharedMacRow(mac=mac))
    for address in {pair.address for pair in port.allowed_address_pairs} - {None}:
        if address is not None:
            yield Placed(scope, shared_key(address), SharedAddressRow(address=address))


def scopes_of_port(row: PortRow) -> Iterator[str]:
    """All that a host must know before the port may talk."""
    yield from (f"network:{row.network}", f"neighbours:{row.network}", f"flood:{row.network}")
    yield from (f"security_group:{group}" for group in row.groups)


GOAL = GoalFeature(
    name="port",
    derivations=(Derivation(PORT, port_rows),),
    needs=(Need(PortRow, scopes_of_port),),
    observers=(Observer(on_reports=on_reports),),
)
