# SPDX-License-Identifier: Apache-2.0
"""Bindings of ports beside their active one, which is the port's own, and moves of ports by activation."""

from alcor.base.errors import Conflict
from alcor.features.port.model import PORT, Port
from alcor.store.declare import Guard, Index, Reference, Stored, Table, own_id
from alcor.store.reader import Reader


class PortBinding(Stored, frozen=True, kw_only=True):
    """An inactive binding: its host has all that the port needs there, and gets none of its packets."""

    port_id: str
    host: str
    vnic_type: str = "normal"
    vif_type: str = "unbound"
    profile: dict[str, object] = {}
    generation: int = 0


BY_PORT: Index[PortBinding] = Index("port_id", lambda binding: (binding.port_id,))
BY_PLACE: Index[PortBinding] = Index("place", lambda binding: ((binding.port_id, binding.host),))

PORT_BINDING: Table[PortBinding] = Table(
    "port_binding",
    PortBinding,
    indexes=(BY_PORT, BY_PLACE),
    references=(Reference("port", PORT, lambda binding: (binding.port_id,), by=BY_PORT),),
)


class BindingStatus(Stored, frozen=True, kw_only=True):
    """What the binding's host reported of it last. `id` is the binding's."""

    generation: int
    is_realised: bool
    reason: str = ""


BINDING_STATUS: Table[BindingStatus] = Table(
    "port_binding_status",
    BindingStatus,
    references=(Reference("binding", PORT_BINDING, own_id),),
    observed=True,
)


class PortMove(Stored, frozen=True, kw_only=True):
    """A port has left a host by activation of another binding. `id` is `PORT/HOST`."""

    port_id: str
    host: str  # that it left
    moved_at: str  # utc_text


MOVES_OF: Index[PortMove] = Index("port_id", lambda move: (move.port_id,))
PORT_MOVE: Table[PortMove] = Table(
    "port_move",
    PortMove,
    indexes=(MOVES_OF,),
    references=(Reference("port", PORT, lambda move: (move.port_id,), by=MOVES_OF),),
)


def waits_nowhere(reader: Reader, old: Port | None, new: Port | None) -> None:
    """Raises Conflict where a port would be bound to a host on which a binding of its waits."""
    is_moved = old is not None and new is not None and new.host and new.host != old.host
    if is_moved and new is not None and reader.count(PORT_BINDING, BY_PLACE, (new.id, new.host)):
        raise already_bound(new.id, new.host)


def already_bound(port_id: str, host: str) -> Conflict:
    """The refusal of a second binding to one host."""
    return Conflict(
        f"Binding for port {port_id} on host {host} already exists.", type="PortBindingAlreadyExists"
    )


WAITS_NOWHERE: Guard[Port] = Guard(PORT, waits_nowhere)
