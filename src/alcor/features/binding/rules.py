# SPDX-License-Identifier: Apache-2.0
"""What may be done with the bindings of a port, as Nova does it when it migrates a machine, and how a port moves."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from alcor.base.errors import Conflict, Invalid, NotFound
from alcor.features.binding.model import (
    BINDING_STATUS,
    BY_PLACE,
    BY_PORT,
    PORT_BINDING,
    PORT_MOVE,
    BindingStatus,
    PortBinding,
    PortMove,
    already_bound,
)
from alcor.features.port.model import CARRIED, PORT, PORT_STATUS, VNIC_TYPES, Port, PortStatus
from alcor.features.port.rules import (
    bound,
    check_host,
    device_bound,
    is_machines,
    plugged,
    vif_details,
    vif_type_on,
)
from alcor.features.trunk.model import Trunk
from alcor.features.trunk.rules import carried, follow, number_on
from alcor.goal.declare import Report
from alcor.resource import parse
from alcor.resource.declare import Call, Context, Extends, Extension, Notice, RestFeature, revised
from alcor.resource.query import sifted
from alcor.store.declare import Change
from alcor.store.reader import Reader, Txn

FORWARD_S = 60  # how long a host sends on what still comes to it for a port that has left it
_HOSTS = ("compute:", "manila:")  # owners of ports that may have several bindings
_GENERATIONS = 1 << 32  # those of bindings beside the active one lie above, so that none is ever met again

Shown = dict[str, object]
Body = Mapping[str, object]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request says of a binding."""

    host: str | msgspec.UnsetType = msgspec.UNSET
    vnic_type: str | msgspec.UnsetType = msgspec.UNSET
    profile: dict[str, object] | msgspec.UnsetType | None = msgspec.UNSET
    project_id: str | msgspec.UnsetType = msgspec.UNSET


def on_list(
    txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, Sequence[str]]
) -> dict[str, list[Shown]]:
    """The port's bindings, the active one first."""
    port = _port(txn, ctx, names[0], "get_port_binding")
    found = [_shown(binding) for binding in (active_of(port), *txn.find(PORT_BINDING, BY_PORT, port.id))]
    return {"bindings": sifted(found, query, ("host", "vif_type", "vnic_type", "status"))}


def on_show(txn: Txn, ctx: Context, names: tuple[str, ...], query: Body) -> dict[str, Shown]:
    """One binding."""
    port = _port(txn, ctx, names[0], "get_port_binding")
    return {"binding": _shown(_binding(txn, port, names[1]))}


def on_create(txn: Txn, ctx: Context, names: tuple[str, ...], body: Body) -> dict[str, Shown]:
    """An inactive binding to one more host."""
    asked = _asked(body)
    if not isinstance(asked.host, str) or not asked.host:
        raise Invalid("Failed to parse request. Required attribute 'host' not specified")
    port = _port(txn, ctx, names[0], "create_port_binding")
    if port.host == asked.host or txn.count(PORT_BINDING, BY_PLACE, (port.id, asked.host)):
        raise already_bound(port.id, asked.host)
    new = PortBinding(id=ctx.new_id(), port_id=port.id, host=asked.host, vnic_type=port.vnic_type)
    new = _bound(txn, ctx, port, _changed(new, asked))
    txn.insert(PORT_BINDING, new)
    _let_subports_wait(txn, ctx, port)
    return {"binding": _shown(new)}


def on_update(txn: Txn, ctx: Context, names: tuple[str, ...], body: Body) -> dict[str, Shown]:
    """The binding with another profile or vNIC type; it is bound anew for that."""
    asked = _asked(body)
    port = _port(txn, ctx, names[0], "update_port_binding")
    old = _binding(txn, port, names[1])
    if isinstance(asked.host, str) and asked.host != old.host:
        raise Invalid(
            f"Binding for port {port.id} on host {old.host} cannot move: make one on host {asked.host}.",
            type="BadRequest",
        )
    new = _changed(old, asked)
    if new == old:
        return {"binding": _shown(old)}
    if old.id:
        new = _bound(txn, ctx, port, new)
        txn.update(PORT_BINDING, new)
        return {"binding": _shown(new)}
    port = bound(txn, revised(ctx, port, vnic_type=new.vnic_type, profile=new.profile), port.host)
    if port.vif_type == "binding_failed":
        raise _not_bound(port.id, port.host)
    _store(txn, ctx, device_bound(txn, ctx, port))
    return {"binding": _shown(active_of(port))}


def on_delete(txn: Txn, ctx: Context, names: tuple[str, ...], body: Body) -> None:
    """Ends the binding; a port whose active one it was is unbound."""
    port = _port(txn, ctx, names[0], "delete_port_binding")
    old = _binding(txn, port, names[1])
    if old.id:
        txn.delete(PORT_BINDING, old.id)
        _let_subports_wait(txn, ctx, port)
    else:
        _store(txn, ctx, bound(txn, revised(ctx, port), ""))


def on_activate(txn: Txn, ctx: Context, names: tuple[str, ...], body: Body) -> Shown:
    """Moves the port, and its subports with it: this binding becomes the active one, and the active one waits. What is
    realised stays so.
    """
    port = _port(txn, ctx, names[0], "activate")
    host = names[1]
    if port.host == host:
        raise Conflict(
            f"Binding for port {port.id} on host {host} is already active.", type="PortBindingAlreadyActive"
        )
    moved = _moved(txn, ctx, port, _binding(txn, port, host))
    for sub in tuple(txn.find(PORT, CARRIED, port.id)):
        waiting = txn.first(PORT_BINDING, BY_PLACE, (sub.id, host))
        if waiting is not None:
            _moved(txn, ctx, sub, waiting)
        else:
            txn.update(PORT, carried(txn, ctx, sub, moved))
    return _shown(active_of(moved))


def on_reports(txn: Txn, host: str, reports: Sequence[Report]) -> None:
    """Writes down what a host says of a binding that waits there, so that activation need not wait for it."""
    for report in reports:
        binding = txn.first(PORT_BINDING, BY_PLACE, (report.key, host))
        if binding is None or binding.generation != report.generation:
            continue
        seen = BindingStatus(
            id=binding.id, generation=report.generation, is_realised=report.is_realised, reason=report.reason
        )
        known = txn.peek(BINDING_STATUS, binding.id)
        if known is None:
            txn.insert(BINDING_STATUS, seen)
        elif known != seen:
            txn.update(BINDING_STATUS, seen)


def notices(reader: Reader, change: Change) -> Iterator[Notice]:
    """That a machine's port is plugged on the host where a binding waits, and all its subports there are ready: Nova
    moves no machine before it hears that.

    What activation itself writes down, not a host's report, is no news.
    """
    old, new = change.old, change.new
    if change.table != BINDING_STATUS.name or change.request or new is None or not new.is_realised:
        return
    binding = reader.peek(PORT_BINDING, change.id)
    port = reader.peek(PORT, binding.port_id) if binding else None
    if port is not None and port.trunk_port:
        port = reader.peek(PORT, port.trunk_port)
    if binding is None or port is None or not is_machines(port) or (old and old.is_realised):
        return
    subs = (sub for sub in reader.find(PORT, CARRIED, port.id) if sub.admin_state_up)
    if all(_is_ready(reader, each, binding.host) for each in (port, *subs)):
        yield plugged(port)


def _is_ready(reader: Reader, port: Port, host: str) -> bool:
    """Whether the host where a binding of the port waits has realised it."""
    binding = reader.first(PORT_BINDING, BY_PLACE, (port.id, host))
    seen = binding and reader.peek(BINDING_STATUS, binding.id)
    return bool(seen and seen.is_realised)


def is_due(reader: Reader, now: str) -> bool:
    """Whether a host has sent on long enough."""
    return any(True for _ in _overdue(reader, now))


def on_due(txn: Txn, now: str) -> None:
    """Forgets moves that everybody has heard of by now."""
    for move in tuple(_overdue(txn, now)):
        txn.delete(PORT_MOVE, move.id)


def active_of(port: Port) -> PortBinding:
    """The port's own binding. It has no id."""
    return PortBinding(
        id="",
        port_id=port.id,
        host=port.host,
        vnic_type=port.vnic_type,
        vif_type=port.vif_type,
        profile=port.profile,
        generation=port.generation,
    )


def _port(txn: Txn, ctx: Context, id: str, rule: str) -> Port:
    port = ctx.visible(txn, PORT, id)
    ctx.require(rule, port.project_id)
    if not port.device_owner.startswith(_HOSTS):
        raise Invalid(
            f"Bad port request: Invalid port {port.id}. Operation only valid on compute and shared filesystem ports.",
            type="BadRequest",
        )
    return port


def _binding(txn: Txn, port: Port, host: str) -> PortBinding:
    if port.host == host:
        return active_of(port)
    found = txn.first(PORT_BINDING, BY_PLACE, (port.id, host))
    if found is None:
        raise NotFound(
            f"Binding for port {port.id} for host {host} could not be found.", type="PortBindingNotFound"
        )
    return found


def _asked(body: Body) -> Asked:
    enclosed = body.get("binding")
    if not isinstance(enclosed, dict):
        raise Invalid("Unable to find 'binding' in request body")
    asked = parse.struct(Asked, enclosed)
    if isinstance(asked.vnic_type, str) and asked.vnic_type not in VNIC_TYPES:
        raise Invalid(
            f"Invalid input for vnic_type. Reason: '{asked.vnic_type}' is not in {list(VNIC_TYPES)}."
        )
    return asked


def _changed(binding: PortBinding, asked: Asked) -> PortBinding:
    given = {"vnic_type": asked.vnic_type, "profile": asked.profile}
    changes = {name: value for name, value in given.items() if value is not msgspec.UNSET}
    if changes.get("profile", {}) is None:
        changes["profile"] = {}
    return msgspec.structs.replace(binding, **changes)


def _bound(txn: Txn, ctx: Context, port: Port, binding: PortBinding) -> PortBinding:
    wanted = msgspec.structs.replace(port, host=binding.host, vnic_type=binding.vnic_type)
    check_host(txn, wanted)
    vif_type = vif_type_on(txn, wanted, binding.host)
    if vif_type == "binding_failed":
        raise _not_bound(port.id, binding.host)
    generation = _GENERATIONS + ctx.random_bits(30)
    profile = binding.profile if port.trusted is None else {**binding.profile, "trusted": port.trusted}
    return msgspec.structs.replace(binding, vif_type=vif_type, generation=generation, profile=profile)


def _not_bound(port_id: str, host: str) -> Conflict:
    return Conflict(
        f"Binding for port {port_id} on host {host} could not be created or updated.", type="PortBindingError"
    )


def _store(txn: Txn, ctx: Context, port: Port) -> None:
    txn.update(PORT, port)
    follow(txn, ctx, port)


def _moved(txn: Txn, ctx: Context, port: Port, chosen: PortBinding) -> Port:
    """The port, stored as bound where that binding of it waited; the one that was active waits now."""
    seen = txn.peek(BINDING_STATUS, chosen.id)
    txn.delete(PORT_BINDING, chosen.id)
    if port.host:
        _leave(txn, ctx, port)
    numbers = dict(port.waiting_numbers)
    number = numbers.pop(chosen.host, 0)
    if port.number:
        numbers[port.host] = port.number
    moved = revised(
        ctx,
        port,
        host=chosen.host,
        vif_type=chosen.vif_type,
        vnic_type=chosen.vnic_type,
        profile=chosen.profile,
        generation=chosen.generation,
        number=number,
        waiting_numbers=tuple(numbers.items()),
    )
    moved = device_bound(txn, ctx, moved)
    txn.update(PORT, moved)
    if seen is not None:
        _note_status(txn, moved, seen)
    return moved


def _let_subports_wait(txn: Txn, ctx: Context, port: Port) -> None:
    """Lets the subports of a trunk's port wait where it waits, and nowhere else."""
    hosts = [binding.host for binding in txn.find(PORT_BINDING, BY_PORT, port.id)]
    for sub in tuple(txn.find(PORT, CARRIED, port.id)):
        _let_wait(txn, ctx, sub, hosts)


def _let_wait(txn: Txn, ctx: Context, sub: Port, hosts: Collection[str]) -> None:
    there = {binding.host: binding for binding in txn.find(PORT_BINDING, BY_PORT, sub.id)}
    for host in there.keys() - set(hosts):
        txn.delete(PORT_BINDING, there[host].id)
    known = dict(sub.waiting_numbers)
    numbers = tuple((host, known.get(host) or number_on(txn, ctx, host)) for host in hosts)
    if numbers != sub.waiting_numbers:
        txn.update(PORT, msgspec.structs.replace(sub, waiting_numbers=numbers))
    for host in hosts:
        if host not in there:
            new = PortBinding(id=ctx.new_id(), port_id=sub.id, host=host, vnic_type=sub.vnic_type)
            txn.insert(PORT_BINDING, _bound(txn, ctx, sub, new))


def _on_trunk(txn: Txn, ctx: Context, trunk: Trunk) -> None:
    _let_subports_wait(txn, ctx, txn.get(PORT, trunk.port_id))


def _on_trunk_update(txn: Txn, ctx: Context, old: Trunk, new: Trunk) -> None:
    left = {sub.port_id for sub in new.sub_ports}
    for sub in old.sub_ports:
        if sub.port_id not in left:
            _let_wait(txn, ctx, txn.get(PORT, sub.port_id), ())
    _on_trunk(txn, ctx, new)


def _on_trunk_delete(txn: Txn, ctx: Context, old: Trunk) -> None:
    for sub in old.sub_ports:
        _let_wait(txn, ctx, txn.get(PORT, sub.port_id), ())


def _leave(txn: Txn, ctx: Context, port: Port) -> None:
    """Lets the active binding wait, as realised as it is, and the host send on what still comes."""
    left = msgspec.structs.replace(active_of(port), id=ctx.new_id())
    txn.insert(PORT_BINDING, left)
    seen = txn.peek(PORT_STATUS, port.id)
    if seen is not None and seen.generation == left.generation:
        said = BindingStatus(
            id=left.id, generation=seen.generation, is_realised=seen.is_realised, reason=seen.reason
        )
        txn.insert(BINDING_STATUS, said)
    _note_move(txn, PortMove(id=f"{port.id}/{port.host}", port_id=port.id, host=port.host, moved_at=ctx.now))


def _note_move(txn: Txn, move: PortMove) -> None:
    if txn.peek(PORT_MOVE, move.id) is None:
        txn.insert(PORT_MOVE, move)
    else:
        txn.update(PORT_MOVE, move)


def _note_status(txn: Txn, port: Port, seen: BindingStatus) -> None:
    status = PortStatus(
        id=port.id, generation=seen.generation, is_realised=seen.is_realised, reason=seen.reason
    )
    if txn.peek(PORT_STATUS, port.id) is None:
        txn.insert(PORT_STATUS, status)
    else:
        txn.update(PORT_STATUS, status)


def _overdue(reader: Reader, now: str) -> Iterator[PortMove]:
    for move in reader.scan(PORT_MOVE):
        age = datetime.fromisoformat(now) - datetime.fromisoformat(move.moved_at)
        if age.total_seconds() >= FORWARD_S:
            yield move


def _shown(binding: PortBinding) -> Shown:
    return {
        "host": binding.host,
        "vif_type": binding.vif_type,
        "vnic_type": binding.vnic_type,
        "status": "INACTIVE" if binding.id else "ACTIVE",
        "profile": binding.profile,
        "vif_details": vif_details(is_bound=binding.vif_type == "ovs"),
    }


_ALL, _ONE = "ports/{port_id}/bindings", "ports/{port_id}/bindings/{host}"

REST = RestFeature(
    name="binding",
    notices=notices,
    extends=(
        Extends("trunk", after_create=_on_trunk, on_update=_on_trunk_update, on_delete=_on_trunk_delete),
    ),
    calls=(
        Call(_ALL, "GET", on_list, rule="get_port_binding", doc="The bindings of a port."),
        Call(
            _ALL,
            "POST",
            on_create,
            status=201,
            rule="create_port_binding",
            doc="Binds a port to one more host.",
        ),
        Call(_ONE, "GET", on_show, rule="get_port_binding", doc="The binding of a port to a host."),
        Call(_ONE, "PUT", on_update, rule="update_port_binding", doc="Changes its profile or vNIC type."),
        Call(_ONE, "DELETE", on_delete, status=204, rule="delete_port_binding", doc="Ends a binding."),
        Call(f"{_ONE}/activate", "PUT", on_activate, rule="activate", doc="Moves the port to this host."),
    ),
    extensions=(
        Extension(
            "binding-extended",
            "Port Bindings Extended",
            "Expose port bindings of a virtual port to external application",
            "2017-07-17T10:00:00-00:00",
        ),
    ),
)
