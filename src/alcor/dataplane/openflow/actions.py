# SPDX-License-Identifier: Apache-2.0
"""Actions of a flow as OpenFlow 1.4 and Open vSwitch's extensions to it write them (ovs-actions(7)).

Of the several ways to say one thing, the one is used that OVS gives back unchanged: set-field for whole fields,
NXAST_REG_LOAD2 for parts, NXAST_CONTROLLER2 for packets to the agent. Reading takes the older forms too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeVar

from alcor.dataplane.openflow import fields
from alcor.dataplane.openflow.fields import Malformed
from alcor.dataplane.values import (
    FIELDS,
    Action,
    Clone,
    Conjunction,
    Controller,
    Ct,
    Foreign,
    InPort,
    Meter,
    Move,
    Output,
    OutputField,
    Resubmit,
    SetField,
)

_PORT_IN_PORT, _PORT_CONTROLLER = 0xFFFFFFF8, 0xFFFFFFFD
_NX_IN_PORT = 0xFFF8  # the same port in 16 bits
_OUTPUT, _SET_FIELD, _EXPERIMENTER = 0, 25, 0xFFFF
_NICIRA = 0x2320
_REG_MOVE, _REG_LOAD, _RESUBMIT_TABLE, _OUTPUT_REG = 6, 7, 14, 15
_REG_LOAD2, _CONJUNCTION, _CT, _CONTROLLER2, _CLONE = 33, 34, 35, 37, 42
_CT_COMMIT, _CT_NO_TABLE = 1, 0xFF
_LOW_16 = 15  # "bits 0 to 15" as OVS writes a part of a field: offset << 6 | bits - 1
_WHOLE_PACKET = 0xFFFF
_PROPERTY_MAX_LEN, _PROPERTY_USERDATA = 0, 3
_CACHED_ACTIONS = 1 << 14
_ACTION_BYTES_MAX = 0xFFFF
_NESTING_MAX = 16

_Output = struct.Struct(">HHIH6x")
_Nicira = struct.Struct(">HHIH")
_Resubmit = struct.Struct(">HB3x")
_OutputReg = struct.Struct(">H4sH6x")
_Move = struct.Struct(">HHH4s4s")
_Load = struct.Struct(">H4sQ")
_Conjunction = struct.Struct(">BBI")
_Ct = struct.Struct(">HIHB3xH")
_CtField = struct.Struct(">H4sHB3xH")
_Property = struct.Struct(">HH")


def encode_actions(actions: Iterable[Action]) -> bytes:
    """Actions one after another. Raises ValueError for what OpenFlow cannot say, or OVS would give back differently."""
    return b"".join([_ENCODE[type(action)](action) for action in actions])


def _nicira(subtype: int, body: bytes) -> bytes:
    length = 10 + len(body)
    padded = length + -length % 8
    if padded > _ACTION_BYTES_MAX:
        raise ValueError(f"an action of {padded} bytes is longer than OpenFlow can say")
    return _Nicira.pack(_EXPERIMENTER, padded, _NICIRA, subtype) + body + bytes(padded - length)


def _encode_output(action: Output) -> bytes:
    if action.port in (_PORT_IN_PORT, _PORT_CONTROLLER):
        raise ValueError("InPort and Controller say where these packets go, not Output")
    return _Output.pack(_OUTPUT, 16, action.port, 0)


def _encode_output_field(action: OutputField) -> bytes:
    return _nicira(_OUTPUT_REG, _OutputReg.pack(_LOW_16, fields.reference(action.field), 0))


def _encode_in_port(_action: InPort) -> bytes:
    return _TO_IN_PORT


_TO_IN_PORT = _Output.pack(_OUTPUT, 16, _PORT_IN_PORT, 0)


def _encode_set_field(action: SetField) -> bytes:
    constant = fields.encode_constant(action.field, action.value, action.mask)
    if action.mask is not None:
        return _nicira(_REG_LOAD2, constant)
    length = 4 + len(constant)
    padded = length + -length % 8
    return _Property.pack(_SET_FIELD, padded) + constant + bytes(padded - length)


def _encode_move(action: Move) -> bytes:
    for name, offset in ((action.src, action.src_offset), (action.dst, action.dst_offset)):
        if action.bits < 1 or offset < 0 or offset + action.bits > fields.width(name):
            raise ValueError(f"{name} has no bits {offset} to {offset + action.bits - 1} to move")
    src, dst = fields.reference(action.src), fields.reference(action.dst)
    return _nicira(_REG_MOVE, _Move.pack(action.bits, action.src_offset, action.dst_offset, src, dst))


def _encode_resubmit(action: Resubmit) -> bytes:
    return _nicira(_RESUBMIT_TABLE, _Resubmit.pack(_NX_IN_PORT, action.table))


def _encode_ct(action: Ct) -> bytes:
    table = _CT_NO_TABLE if action.table is None else action.table
    if table == _CT_NO_TABLE and action.table is not None:
        raise ValueError("ct() cannot go on in table 255")
    flags = _CT_COMMIT if action.commit else 0
    if isinstance(action.zone, str):
        head = _CtField.pack(flags, fields.reference(action.zone), _LOW_16, table, 0)
    else:
        head = _Ct.pack(flags, 0, action.zone, table, 0)
    return _nicira(_CT, head + encode_actions(action.nested))


def _encode_conjunction(action: Conjunction) -> bytes:
    if not 1 <= action.clause <= action.of or not 2 <= action.of <= 64:
        raise ValueError(
            f"conjunction {action.id} has clause {action.clause} of {action.of}, not 1 to n of 2 to 64"
        )
    return _nicira(_CONJUNCTION, _Conjunction.pack(action.clause - 1, action.of, action.id))


def _encode_controller(action: Controller) -> bytes:
    body = bytes(6)
    if action.max_len != _WHOLE_PACKET:
        body += struct.pack(">HHH2x", _PROPERTY_MAX_LEN, 8, action.max_len)
    if action.userdata:
        length = 4 + len(action.userdata)
        body += _Property.pack(_PROPERTY_USERDATA, length) + action.userdata + bytes(-length % 8)
    return _nicira(_CONTROLLER2, body)


def _encode_clone(action: Clone) -> bytes:
    return _nicira(_CLONE, bytes(6) + encode_actions(action.actions))


def _refuse_meter(action: Meter) -> bytes:
    raise ValueError(f"meter {action.id} stands first among a flow's actions, or nowhere")


def _refuse_foreign(action: Foreign) -> bytes:
    raise ValueError(f"what somebody else's flow does is never sent: {action.raw.hex()}")


_A = TypeVar("_A", bound=Action)


def _for(_kind: type[_A], encode: Callable[[_A], bytes]) -> Callable[[Action], bytes]:
    """The encoder, typed for any action: the table below only calls it with its own kind."""
    return encode  # type: ignore[return-value]  # the key of the table is the type of the argument


_ENCODE: dict[type[Action], Callable[[Action], bytes]] = {
    Output: _for(Output, _encode_output),
    OutputField: _for(OutputField, _encode_output_field),
    InPort: _for(InPort, _encode_in_port),
    SetField: _for(SetField, _encode_set_field),
    Move: _for(Move, _encode_move),
    Resubmit: _for(Resubmit, _encode_resubmit),
    Ct: _for(Ct, _encode_ct),
    Conjunction: _for(Conjunction, _encode_conjunction),
    Controller: _for(Controller, _encode_controller),
    Clone: _for(Clone, _encode_clone),
    Meter: _for(Meter, _refuse_meter),
    Foreign: _for(Foreign, _refuse_foreign),
}


def decode_actions(raw: bytes, start: int, end: int, depth: int = 0) -> tuple[Action, ...]:
    """The actions between two offsets. What Alcor does not know is `Foreign`. Raises Malformed."""
    actions = []
    while start < end:
        length = int.from_bytes(raw[start + 2 : start + 4], "big") if start + 8 <= end else 0
        if length < 8 or length % 8 or start + length > end:
            raise Malformed(f"an action at byte {start} is cut off, or has length {length}")
        actions.append(_decode_action(raw[start : start + length], depth))
        start += length
    return tuple(actions)


# Pure, so a cache only saves work: most actions of a table are alike, and equal ones then share memory.
@lru_cache(_CACHED_ACTIONS)
def _decode_action(raw: bytes, depth: int) -> Action:
    if depth > _NESTING_MAX:
        return Foreign(raw)
    kind = int.from_bytes(raw[:2], "big")
    if kind == _OUTPUT and len(raw) == _Output.size:
        return _decode_output(raw)
    if kind == _SET_FIELD:
        return _decode_constant(raw, 4)
    if kind == _EXPERIMENTER and len(raw) >= 16 and int.from_bytes(raw[4:8], "big") == _NICIRA:
        decode = _DECODE.get(int.from_bytes(raw[8:10], "big"))
        return decode(raw, depth) if decode else Foreign(raw)
    return Foreign(raw)


def _decode_output(raw: bytes) -> Action:
    _, _, port, max_len = _Output.unpack(raw)
    if port == _PORT_IN_PORT:
        return InPort()
    return Controller(max_len=max_len) if port == _PORT_CONTROLLER else Output(port)


def _decode_constant(raw: bytes, start: int) -> Action:
    term = fields.decode_constant(raw[start:])
    if term.field not in FIELDS:
        return Foreign(raw)
    has_mask = bool(raw[start + 2] & 1)
    return SetField(term.field, term.value, term.mask if has_mask else None)


def _decode_load2(raw: bytes, _depth: int) -> Action:
    return _decode_constant(raw, 10)


def _decode_load(raw: bytes, _depth: int) -> Action:
    """The older way to set a part of a field of up to 64 bits."""
    if len(raw) != 24:
        raise Malformed(f"a register load of {len(raw)} bytes")
    part, header, value = _Load.unpack_from(raw, 10)
    name, offset, bits = fields.field_of(header), part >> 6, (part & 0x3F) + 1
    if name is None or offset + bits > fields.width(name) or value >> bits:
        return Foreign(raw)
    if bits == fields.width(name):
        return SetField(name, value)
    return SetField(name, value << offset, ((1 << bits) - 1) << offset)


def _decode_move(raw: bytes, _depth: int) -> Action:
    if len(raw) != 24:
        return Foreign(raw)
    bits, src_offset, dst_offset, src, dst = _Move.unpack_from(raw, 10)
    source, target = fields.field_of(src), fields.field_of(dst)
    if source is None or target is None:
        return Foreign(raw)
    return Move(source, target, bits, src_offset, dst_offset)


def _decode_resubmit(raw: bytes, _depth: int) -> Action:
    in_port, table = _Resubmit.unpack_from(raw, 10)
    return Resubmit(table) if in_port == _NX_IN_PORT else Foreign(raw)


def _decode_output_field(raw: bytes, _depth: int) -> Action:
    if len(raw) != 24:
        raise Malformed(f"an output to a register of {len(raw)} bytes")
    part, header, _max_len = _OutputReg.unpack_from(raw, 10)
    name = fields.field_of(header)
    return Foreign(raw) if name is None or part != _LOW_16 else OutputField(name)


def _decode_conjunction(raw: bytes, _depth: int) -> Action:
    clause, of, number = _Conjunction.unpack_from(raw, 10)
    return Conjunction(number, clause + 1, of)


def _decode_ct(raw: bytes, depth: int) -> Action:
    if len(raw) < 24:
        raise Malformed(f"a ct action of {len(raw)} bytes")
    flags, header, zone, table, alg = _CtField.unpack_from(raw, 10)
    name = None if header == bytes(4) else fields.field_of(header)
    nested = decode_actions(raw, 24, len(raw), depth + 1)
    constants = tuple(action for action in nested if isinstance(action, SetField))
    plain = header == bytes(4) or (name is not None and zone == _LOW_16)
    if not plain or alg or flags & ~_CT_COMMIT or len(constants) != len(nested):
        return Foreign(raw)
    where = None if table == _CT_NO_TABLE else table
    return Ct(zone if name is None else name, flags == _CT_COMMIT, where, constants)


def _decode_controller(raw: bytes, _depth: int) -> Action:
    userdata, max_len, start = b"", _WHOLE_PACKET, 16
    while start < len(raw):
        kind, length = _Property.unpack_from(raw, start)
        if length < 4 or start + length > len(raw):
            raise Malformed(f"a property of a controller action is cut off at byte {start}")
        body = raw[start + 4 : start + length]
        if kind == _PROPERTY_MAX_LEN and len(body) == 4:
            max_len = int.from_bytes(body[:2], "big")
        elif kind == _PROPERTY_USERDATA:
            userdata = body
        else:
            return Foreign(raw)
        start += length + -length % 8
    return Controller(userdata, max_len)


def _decode_clone(raw: bytes, depth: int) -> Action:
    return Clone(decode_actions(raw, 16, len(raw), depth + 1))


_DECODE: dict[int, Callable[[bytes, int], Action]] = {
    _REG_MOVE: _decode_move,
    _REG_LOAD: _decode_load,
    _RESUBMIT_TABLE: _decode_resubmit,
    _OUTPUT_REG: _decode_output_field,
    _REG_LOAD2: _decode_load2,
    _CONJUNCTION: _decode_conjunction,
    _CT: _decode_ct,
    _CONTROLLER2: _decode_controller,
    _CLONE: _decode_clone,
}
