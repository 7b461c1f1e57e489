# SPDX-License-Identifier: Apache-2.0
"""Who must know of bindings that wait: their own host, all of the port. And who of moves: the host that was left."""

from collections.abc import Iterator

import msgspec

from alcor.features.agent.model import HOST
from alcor.features.binding.flows import ArrivedRow, MovedRow, scopes_of_move
from alcor.features.binding.model import PORT_BINDING, PORT_MOVE, PortBinding, PortMove
from alcor.features.binding.rules import is_due, on_due, on_reports
from alcor.features.port.goal import port_row
from alcor.features.port.model import PORT
from alcor.goal.declare import Derivation, GoalFeature, Need, Observer, Placed, View, host_scope


def binding_rows(view: View, binding: PortBinding) -> Iterator[Placed]:
    """The port, complete on the host where it waits and announced to nobody."""
    port = view.peek(PORT, binding.port_id)
    if port is None or binding.vif_type != "ovs":
        return
    number = dict(port.waiting_numbers).get(binding.host, 0)
    if number or not port.trunk_port:
        there = {"generation": binding.generation, "is_active": False, "number": number}
        yield Placed(host_scope(binding.host), port.id, msgspec.structs.replace(port_row(port), **there))


def move_rows(view: View, move: PortMove) -> Iterator[Placed]:
    """Where the port is now, for the host that it left; and for its new host, that the old one may send it packets."""
    port = view.peek(PORT, move.port_id)
    if port is None or not port.is_bound or port.host == move.host or not port.admin_state_up:
        return
    old, new = view.peek(HOST, move.host), view.peek(HOST, port.host)
    if old is None or new is None:
        return
    moved = MovedRow(network=port.network_id, mac=port.mac_address, tunnel_ip=new.tunnel_ip)
    yield Placed(host_scope(move.host), f"moved/{port.id}", moved)
    arrived = ArrivedRow(network=port.network_id, tunnel_ip=old.tunnel_ip)
    yield Placed(host_scope(port.host), f"arrived/{port.network_id}/{move.host}", arrived)


GOAL = GoalFeature(
    name="binding",
    derivations=(Derivation(PORT_BINDING, binding_rows), Derivation(PORT_MOVE, move_rows)),
    needs=(Need(MovedRow, scopes_of_move), Need(ArrivedRow, scopes_of_move)),
    observers=(Observer(on_reports=on_reports, is_due=is_due, on_due=on_due),),
)
