# SPDX-License-Identifier: Apache-2.0
"""Envelopes as bytes, built from parts that hosts share.

Protobuf lets a message be the concatenation of its fields, so the rows of a change are encoded once and joined with
each host's own positions and sequence number.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from alcor.base.wire.alcor_pb2 import Ask, Delta, Enter, Envelope, Inspect, Leave, Row
from alcor.base.wire.alcor_pb2 import Position as WirePosition
from alcor.goal.compiler import RowChange
from alcor.store.declare import Position

_VARINT, _LENGTH = 0, 2  # protobuf wire types
_DELTA = bytes([Envelope.DELTA_FIELD_NUMBER << 3 | _LENGTH])
_ENTER = bytes([Envelope.ENTER_FIELD_NUMBER << 3 | _LENGTH])
_SEQUENCE = bytes([Envelope.SEQUENCE_FIELD_NUMBER << 3 | _VARINT])

ASK = Envelope(ask=Ask()).SerializeToString()


def wire_position(position: Position) -> WirePosition:
    """A position as it travels."""
    return WirePosition(revision=position.revision, turn=bytes.fromhex(position.turn))


def position_of(wire: WirePosition) -> Position:
    """A position as it came."""
    return Position(wire.revision, wire.turn.hex())


def row_fields(changes: Sequence[RowChange]) -> bytes:
    """The rows of a Delta and the requests behind them, to be joined with others."""
    return Delta(
        rows=[Row(scope=change.scope, key=change.key, body=change.new) for change in changes],
        request_ids=sorted({change.request for change in changes if change.request}),
    ).SerializeToString()


def delta(after: Position | None, to: Position, rows: bytes = b"", *, is_whole: bool = False) -> bytes:
    """A Delta; `after` is None for a host that has nothing."""
    return _envelope(_DELTA, _delta_head(after, to, is_whole) + rows)


def enter_rows(rows: Mapping[str, bytes], keys: Iterable[str]) -> bytes:
    """The rows of an Enter: those under `keys` that are still there."""
    return Enter(
        rows=[Row(key=key, body=body) for key in keys if (body := rows.get(key)) is not None]
    ).SerializeToString()


def enter(scope: str, position: Position, rows: bytes, *, is_last: bool) -> bytes:
    """One chunk of a snapshot."""
    head = Enter(scope=scope, position=wire_position(position), last=is_last)
    return _envelope(_ENTER, head.SerializeToString() + rows)


def leave(scope: str, position: Position) -> bytes:
    """A Leave."""
    return Envelope(leave=Leave(scope=scope, position=wire_position(position))).SerializeToString()


def inspect(number: int, what: str, name: str) -> bytes:
    """An Inspect."""
    return Envelope(inspect=Inspect(id=number, what=what, name=name)).SerializeToString()


def numbered(envelope: bytes, sequence: int) -> bytes:
    """The envelope with its place on the stream."""
    return envelope + _SEQUENCE + _varint(sequence)


@lru_cache(maxsize=1024)
def _delta_head(after: Position | None, to: Position, is_whole: bool) -> bytes:
    return Delta(
        after=wire_position(after) if after else None, to=wire_position(to), whole=is_whole
    ).SerializeToString()


def _envelope(tag: bytes, message: bytes) -> bytes:
    return tag + _varint(len(message)) + message


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes([number])
    octets = bytearray()
    while number > 0x7F:
        octets.append(number & 0x7F | 0x80)
        number >>= 7
    octets.append(number)
    return bytes(octets)
