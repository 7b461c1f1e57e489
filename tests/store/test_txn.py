# SPDX-License-Identifier: Apache-2.0
"""Random histories of tables and overlays equal a plain model: pools, references, unique keys, nesting, scans."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alcor.base.errors import Conflict, NotFound, Refusal
from alcor.store.declare import Position
from alcor.store.tables import Slice, Tables
from alcor.store.txn import Overlay
from tests.store import model
from tests.store.world import (
    NET,
    NET_VNI,
    PORT,
    PORT_HOST,
    PORT_MAC,
    PORT_NET,
    PORT_NUMBER,
    SCHEMA,
    SUBNET,
    SUBNET_NET,
    Net,
    Port,
    Subnet,
)

NETS, SUBNETS, PORTS = ["n0", "n1", "n2"], ["s0", "s1"], ["p0", "p1", "p2", "p3", "p4"]
small = st.integers(1, 6)

nets = st.builds(Net, id=st.sampled_from(NETS), name=st.sampled_from(["", "x"]), vni=st.none() | small)
subnets = st.builds(Subnet, id=st.sampled_from(SUBNETS), net=st.sampled_from(NETS), kept=st.booleans())
ports = st.builds(
    Port,
    id=st.sampled_from(PORTS),
    net=st.sampled_from(NETS),
    mac=st.sampled_from(["", "a", "b"]),
    host=st.sampled_from(["", "h"]),
    numbers=st.lists(
        st.tuples(st.sampled_from(SUBNETS), small), max_size=2, unique_by=lambda held: held[0]
    ).map(tuple),
    tags=st.lists(st.sampled_from(["t", "u"]), max_size=3).map(tuple),
)
writes = st.one_of(
    st.tuples(st.just("put"), st.just(NET), nets),
    st.tuples(st.just("put"), st.just(SUBNET), subnets),
    st.tuples(st.just("put"), st.just(PORT), ports),
    st.tuples(st.just("delete"), st.just(NET), st.sampled_from(NETS)),
    st.tuples(st.just("delete"), st.just(SUBNET), st.sampled_from(SUBNETS)),
    st.tuples(st.just("delete"), st.just(PORT), st.sampled_from(PORTS)),
    st.tuples(st.just("allocate"), st.sampled_from(SUBNETS), st.tuples(small, small)),
)
turns = st.lists(st.lists(st.tuples(st.booleans(), st.lists(writes, max_size=6)), max_size=4), max_size=6)


def _put(txn: Overlay, table: Any, new: Any) -> None:
    if txn.peek(table, new.id) is None:
        txn.insert(table, new)
    else:
        txn.update(table, new)


def _allocate(txn: Overlay, state: model.State, key: str, bounds: tuple[int, int]) -> None:
    answered = set()
    expected = [
        number
        for number in range(bounds[0], bounds[1] + 1)
        if number not in model.held(state, PORT_NUMBER, key)
    ]
    while (number := txn.allocate(PORT_NUMBER, key, (bounds,))) is not None:
        answered.add(number)
    # Those that an earlier call in this transaction answered do not come again.
    assert answered <= set(expected)


def _step(txn: Overlay, state: model.State, write: tuple[str, Any, Any]) -> model.State:
    verb, what, value = write
    if verb == "allocate":
        _allocate(txn, state, what, value)
        return state
    try:
        after = model.put(state, what, value) if verb == "put" else model.drop(state, what, value)
    except model.Refused:
        with pytest.raises(Refusal):
            _put(txn, what, value) if verb == "put" else txn.delete(what, value)
        return state
    _put(txn, what, value) if verb == "put" else txn.delete(what, value)
    return after


def _commit(tables: Tables, turn: Overlay) -> None:
    rows: dict[tuple[str, str], bytes | None] = {}
    for write in turn.writes:
        key = write.plan.name, write.id
        old = rows[key] if key in rows else tables.row(*key)
        rows[key] = None if write.new is None else write.plan.encode(write.new, write.old, old)
    revision = tables.revision + len(turn.writes)
    tables.take(turn.net(rows), Position(revision, f"{revision:032x}"))


@settings(max_examples=200, deadline=None)
@given(turns)
def test_random_turns_equal_the_model(history: list[list[tuple[bool, list[Any]]]]) -> None:
    tables, state = Tables(SCHEMA), model.empty()
    scans = []
    for turn in history:
        scans.append((tables.snapshot_scan(PORT, 2), list(model.copy(state)["port"].values())))
        overlay, inside = Overlay(tables), state
        for is_kept, request in turn:
            mark, within = overlay.begin(), inside
            for write in request:
                within = _step(overlay, within, write)
            model.seen(overlay, within)
            if is_kept:
                inside = within
            else:
                overlay.undo(mark)
            model.seen(overlay, inside)
        model.seen(tables, state)
        _commit(tables, overlay)
        state = inside
        model.seen(tables, state)
        assert tables.page(PORT, None, 9) == [port for _, port in sorted(state["port"].items())]
    for scan, expected in scans:
        assert [port for rows in scan for port in rows] == sorted(expected, key=lambda port: port.id)


@settings(max_examples=20, deadline=None)
@given(turns)
def test_a_load_of_what_is_stored_equals_the_tables_that_were_changed(history: list[Any]) -> None:
    tables, state = Tables(SCHEMA), model.empty()
    for turn in history:
        overlay = Overlay(tables)
        for _, request in turn:
            for write in request:
                state = _step(overlay, state, write)
        _commit(tables, overlay)
    loaded = Tables(SCHEMA)
    loading = loaded.loading()
    for table in model.TABLES:
        ids = sorted(state[table.name])
        loading.add(Slice(table.name, ids, [tables.row(table.name, name) or b"" for name in ids]))
    loading.finish(tables.position)
    model.seen(loaded, state)


@pytest.fixture
def txn() -> Overlay:
    txn = Overlay(Tables(SCHEMA))
    txn.insert(NET, Net(id="n", vni=1))
    txn.insert(SUBNET, Subnet(id="s", net="n"))
    txn.insert(PORT, Port(id="p", net="n", mac="aa", host="h", numbers=(("s", 5),)))
    return txn


def _refused(write: Callable[[], object], kind: type[Refusal], words: str) -> None:
    with pytest.raises(kind, match=words):
        write()


def test_what_is_refused_is_refused_in_the_words_of_its_declaration(txn: Overlay) -> None:
    port = txn.get(PORT, "p")
    change = msgspec.structs.replace
    _refused(lambda: txn.insert(PORT, change(port, id="q", numbers=())), Conflict, "MAC aa is taken")
    _refused(lambda: txn.insert(PORT, change(port, id="q", mac="")), Conflict, "s 5 is taken")
    _refused(lambda: txn.insert(PORT, Port(id="q", net="x")), NotFound, "Net x could not be found")
    _refused(lambda: txn.insert(PORT, port), Conflict, "already a port with the id p")
    _refused(lambda: txn.update(PORT, change(port, id="q")), NotFound, "Port q could not be found")
    _refused(lambda: txn.delete(PORT, "q"), NotFound, "Port q could not be found")
    _refused(lambda: txn.get(NET, "x"), NotFound, "Net x could not be found")
    _refused(lambda: txn.delete(NET, "n"), Conflict, "net n has ports")
    _refused(lambda: txn.delete(SUBNET, "s"), Conflict, "subnet s has ports")
    assert len(txn.writes) == 3


def test_a_cascade_that_is_vetoed_deletes_nothing(txn: Overlay) -> None:
    txn.delete(PORT, "p")
    txn.insert(SUBNET, Subnet(id="z", net="n", kept=True))
    _refused(lambda: txn.delete(NET, "n"), Conflict, "subnet z is kept")
    assert [subnet.id for subnet in txn.find(SUBNET, SUBNET_NET, "n")] == ["s", "z"]
    txn.update(SUBNET, Subnet(id="z", net="n"))
    txn.delete(NET, "n")
    assert list(txn.scan(SUBNET)) == []


def test_an_update_that_changes_nothing_writes_nothing(txn: Overlay) -> None:
    before = len(txn.writes)
    txn.update(NET, Net(id="n", vni=1))
    assert len(txn.writes) == before


def test_a_number_that_was_answered_does_not_come_again_until_it_was_held_and_freed(txn: Overlay) -> None:
    assert [txn.allocate(PORT_NUMBER, "s", ((4, 6), (9, 9))) for _ in range(4)] == [4, 6, 9, None]
    txn.insert(PORT, Port(id="q", net="n", numbers=(("s", 4),)))
    txn.delete(PORT, "q")
    assert txn.allocate(PORT_NUMBER, "s", ((4, 6), (9, 9))) == 4


def test_a_dropped_request_gives_its_numbers_back(txn: Overlay) -> None:
    mark = txn.begin()
    for number in (2, 3):
        assert txn.allocate(NET_VNI, "vni", ((1, 9),)) == number
        txn.insert(NET, Net(id=f"n{number}", vni=number))
    txn.undo(mark)
    txn.begin()
    assert txn.allocate(NET_VNI, "vni", ((1, 9),)) == 2
    txn.begin()
    assert txn.allocate(NET_VNI, "vni", ((1, 9),)) == 2


def test_many_allocations_of_one_turn_look_at_each_number_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = Tables(SCHEMA)
    looked = 0
    lowest = tables.lowest_free

    def counting(*asked: Any) -> int | None:
        nonlocal looked
        looked += 1
        return lowest(*asked)

    monkeypatch.setattr(tables, "lowest_free", counting)
    turn = Overlay(tables)
    for number in range(1, 501):
        turn.begin()
        assert turn.allocate(NET_VNI, "vni", ((1, 1000),)) == number
        turn.insert(NET, Net(id=f"n{number}", vni=number))
    assert looked <= 3 * 500


def test_counting_under_a_key_of_many_looks_at_no_object(
    monkeypatch: pytest.MonkeyPatch, txn: Overlay
) -> None:
    for number in range(300):
        txn.insert(PORT, Port(id=f"q{number:03}", net="n", host="h"))
    monkeypatch.setattr(Overlay, "get", None)
    assert (txn.count(PORT, PORT_HOST, "h"), txn.count(PORT, PORT_NET, "n")) == (301, 301)
    assert txn.count(PORT, PORT_MAC, ("n", "aa")) == 1


def test_fields_that_this_process_does_not_know_survive_its_rewrite() -> None:
    tables = Tables(SCHEMA)
    row = msgspec.msgpack.encode({"id": "n", "name": "old", "colour": "blue", "deep": {"er": [1]}})
    tables.load([Slice("net", ["n"], [row])])
    turn = Overlay(tables)
    turn.update(NET, Net(id="n", name="new"))
    _commit(tables, turn)
    stored = tables.row("net", "n")
    assert stored is not None
    assert msgspec.msgpack.decode(stored) == {"id": "n", "name": "new", "colour": "blue", "deep": {"er": [1]}}
    assert tables.get(NET, "n") == Net(id="n", name="new")
    assert tables.revision == 1


def test_a_table_of_another_version_is_passed_over_at_load() -> None:
    tables = Tables(SCHEMA)
    row = msgspec.msgpack.encode(Net(id="n"))
    tables.load([Slice("router", ["r"], [b"\x80"]), Slice("net", ["n"], [row])])
    assert [net.id for net in tables.scan(NET)] == ["n"]


def test_a_load_leaves_open_scans_as_they_were() -> None:
    tables = Tables(SCHEMA)
    ids = [f"{n:03}" for n in range(50)]
    tables.load([Slice("net", ids, [msgspec.msgpack.encode(Net(id=each)) for each in ids])])
    scan = tables.snapshot_scan(NET, 20)
    assert len(next(scan)) == 20
    tables.load([])
    assert [len(rows) for rows in scan] == [20, 10]
    closed = tables.snapshot_scan(NET, 20)
    closed.close()
    assert list(closed) == []
