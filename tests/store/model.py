# SPDX-License-Identifier: Apache-2.0
"""The tables of `tests.store.world` as plain dicts, with every rule said the slow and obvious way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alcor.store.declare import Key, Stored, Table
from alcor.store.reader import Reader
from tests.store.world import (
    NET,
    NET_VNI,
    PORT,
    PORT_HOST,
    PORT_MAC,
    PORT_NET,
    PORT_NUMBER,
    PORT_TAG,
    SUBNET,
    SUBNET_NET,
    Net,
    Port,
    Subnet,
)

TABLES: tuple[Table[Any], ...] = (NET, SUBNET, PORT)
INDEXES = {NET: (), SUBNET: (SUBNET_NET,), PORT: (PORT_NET, PORT_HOST, PORT_TAG, PORT_MAC)}
POOLS = (NET_VNI, PORT_NUMBER)

State = dict[str, dict[str, Any]]


class Refused(Exception):
    """The rules of the model forbid it."""


def empty() -> State:
    return {table.name: {} for table in TABLES}


def copy(state: State) -> State:
    return {name: dict(rows) for name, rows in state.items()}


def put(state: State, table: Table[Any], new: Stored) -> State:
    """The state with an object inserted or replaced."""
    others = [old for old in state[table.name].values() if old.id != new.id]
    match new:
        case Net(vni=vni):
            refuse_if(vni is not None and any(other.vni == vni for other in others))
        case Subnet(net=net):
            refuse_if(net not in state["net"])
        case Port(net=net, mac=mac, numbers=numbers):
            refuse_if(net not in state["net"])
            refuse_if(any(subnet not in state["subnet"] for subnet, _ in numbers))
            refuse_if(bool(mac) and any((other.net, other.mac) == (net, mac) for other in others))
            refuse_if(any(set(other.numbers) & set(numbers) for other in others))
    after = copy(state)
    after[table.name][new.id] = new
    return after


def drop(state: State, table: Table[Any], id: str) -> State:
    """The state without an object and what cascades from it."""
    refuse_if(id not in state[table.name])
    if table is NET:
        refuse_if(any(port.net == id for port in state["port"].values()))
        for subnet in [subnet for subnet in state["subnet"].values() if subnet.net == id]:
            state = drop(state, SUBNET, subnet.id)
    if table is SUBNET:
        refuse_if(any(id in dict(port.numbers) for port in state["port"].values()))
        refuse_if(state["subnet"][id].kept)
    after = copy(state)
    del after[table.name][id]
    return after


def refuse_if(condition: bool) -> None:
    if condition:
        raise Refused


def seen(reader: Reader, state: State) -> None:
    """Asserts that the reader shows this state, whatever it is asked."""
    for table in TABLES:
        rows = state[table.name]
        assert {stored.id: stored for stored in reader.scan(table)} == rows
        for stored in rows.values():
            assert reader.get(table, stored.id) == stored
        for index in INDEXES[table]:
            keys: set[Key] = {key for stored in rows.values() for key in index.keys(stored)} | {"none"}
            for key in keys:
                expected = [stored for _, stored in sorted(rows.items()) if key in tuple(index.keys(stored))]
                assert list(reader.find(table, index, key)) == expected
                assert reader.count(table, index, key) == len(expected)
                assert reader.first(table, index, key) == (expected[0] if expected else None)
    for pool, key, number in numbers_asked():
        assert reader.is_held(pool, key, number) == (number in held(state, pool, key))


def held(state: State, pool: Any, key: Key) -> set[int]:
    rows = state["net" if pool is NET_VNI else "port"].values()
    return {number for stored in rows for held_key, number in pool.holds(stored) if held_key == key}


def numbers_asked() -> Iterator[tuple[Any, Key, int]]:
    for number in range(1, 8):
        yield NET_VNI, "vni", number
        for subnet in ("s0", "s1"):
            yield PORT_NUMBER, subnet, number
