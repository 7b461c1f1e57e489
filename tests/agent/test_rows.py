# SPDX-License-Identifier: Apache-2.0
"""What a host makes of what it is sent: only real differences count, and nothing half-received is relied on."""

import msgspec
import pytest

from alcor.agent.rows import Changed, HostRows
from alcor.base.wire.alcor_pb2 import Row as WireRow
from alcor.base.wire.digest import digest_bytes, digest_of, interest_hash
from alcor.dataplane.rows import Row


class Lamp(Row, tag="lamp", frozen=True, kw_only=True):
    """A row."""

    room: str
    watts: int = 40


class Door(Row, tag="door", frozen=True, kw_only=True):
    """Another kind of row."""

    room: str


class NewerLamp(Row, tag="lamp", frozen=True, kw_only=True):
    """The row as a newer push sends it."""

    room: str
    colour: str = "white"


class Novelty(Row, tag="novelty", frozen=True, kw_only=True):
    """A kind that this agent does not know."""


@pytest.fixture
def rows() -> HostRows:
    return HostRows((Lamp, Door))


def sent(key: str, row: Row | None, scope: str = "") -> WireRow:
    return WireRow(scope=scope, key=key, body=None if row is None else msgspec.msgpack.encode(row))


def test_a_snapshot_in_one_piece_is_there_at_once(rows: HostRows) -> None:
    changed = rows.enter("s", [sent("a", Lamp(room="x")), sent("b", Door(room="x"))], is_last=True)
    assert changed == Changed({("s", Lamp, "a"), ("s", Door, "b")}, {"s"}, set())
    assert rows.row(Lamp, "s", "a") == Lamp(room="x")
    assert rows.row(Door, "s", "a") is None
    assert rows.rows(Lamp, "s") == [Lamp(room="x")]
    assert rows.complete == {"s"}


def test_a_snapshot_in_chunks_counts_from_its_last_one(rows: HostRows) -> None:
    assert not rows.enter("s", [sent("a", Lamp(room="x"))], is_last=False)
    assert rows.scopes.get("s", {}) == {}
    assert rows.complete == set()
    assert rows.enter("s", [sent("b", Lamp(room="y"))], is_last=True).entered == {"s"}
    assert rows.scopes["s"].keys() == {"a", "b"}


def test_a_second_snapshot_brings_only_what_differs(rows: HostRows) -> None:
    old = [sent("a", Lamp(room="x")), sent("b", Lamp(room="x")), sent("c", Lamp(room="x"))]
    rows.enter("s", old, is_last=True)
    new = [sent("a", Lamp(room="x")), sent("b", Lamp(room="y")), sent("d", Lamp(room="x"))]
    assert rows.enter("s", new, is_last=True).rows == {("s", Lamp, key) for key in "bcd"}
    assert rows.scopes["s"].keys() == {"a", "b", "d"}


def test_a_scope_that_is_sent_anew_in_chunks_keeps_its_rows_and_is_incomplete_meanwhile(
    rows: HostRows,
) -> None:
    rows.enter("s", [sent("a", Lamp(room="x"))], is_last=True)
    changed = rows.enter("s", [], is_last=False)
    assert changed == Changed(set(), set(), {"s"})
    assert rows.scopes["s"].keys() == {"a"}
    assert rows.complete == set()
    assert rows.enter("s", [sent("b", Lamp(room="x"))], is_last=True) == Changed(
        {("s", Lamp, "a"), ("s", Lamp, "b")}, {"s"}, set()
    )


def test_a_change_wins_over_a_chunk_whichever_comes_first(rows: HostRows) -> None:
    rows.enter("s", [sent("a", Lamp(room="old")), sent("b", Lamp(room="old"))], is_last=False)
    rows.delta([sent("a", Lamp(room="new"), "s"), sent("b", None, "s"), sent("c", None, "s")])
    rows.enter("s", [sent("c", Lamp(room="old")), sent("d", Lamp(room="old"))], is_last=True)
    assert rows.scopes["s"] == {"a": Lamp(room="new"), "d": Lamp(room="old")}


def test_half_a_snapshot_is_forgotten_with_its_stream(rows: HostRows) -> None:
    rows.enter("s", [sent("a", Lamp(room="x"))], is_last=False)
    rows.forget_staged()
    rows.enter("s", [sent("b", Lamp(room="x"))], is_last=True)
    assert rows.scopes["s"].keys() == {"b"}


def test_changes_name_the_kind_that_went_and_the_kind_that_came(rows: HostRows) -> None:
    rows.enter("s", [sent("a", Lamp(room="x"))], is_last=True)
    assert rows.delta([sent("a", Lamp(room="x"), "s")]) == Changed()
    assert rows.delta([sent("a", Lamp(room="y"), "s")]).rows == {("s", Lamp, "a")}
    assert rows.delta([sent("a", Door(room="y"), "s")]).rows == {("s", Lamp, "a"), ("s", Door, "a")}
    assert rows.delta([sent("a", None, "s")]).rows == {("s", Door, "a")}
    assert not rows.delta([sent("a", None, "s")])


def test_a_change_in_a_scope_that_was_not_entered_is_skipped(rows: HostRows) -> None:
    assert not rows.delta([sent("a", Lamp(room="x"), "s")])
    assert rows.scopes == {}


def test_a_scope_that_is_left_takes_its_rows_along(rows: HostRows) -> None:
    rows.enter("s", [sent("a", Lamp(room="x"))], is_last=True)
    rows.enter("t", [sent("a", Lamp(room="x"))], is_last=False)
    assert rows.leave("s") == Changed({("s", Lamp, "a")}, set(), {"s"})
    assert not rows.leave("t")
    assert not rows.leave("unknown")
    assert rows.scopes == {}
    assert rows.complete == set()


def test_unknown_fields_are_ignored_and_missing_ones_have_their_defaults(rows: HostRows) -> None:
    rows.enter("s", [sent("a", NewerLamp(room="x", colour="red"))], is_last=True)
    assert rows.row(Lamp, "s", "a") == Lamp(room="x", watts=40)


def test_a_row_of_an_unknown_kind_is_no_fault_and_counts_in_the_digest(rows: HostRows) -> None:
    changed = rows.enter("s", [sent("a", Lamp(room="x")), sent("n", Novelty())], is_last=True)
    assert changed.rows == {("s", Lamp, "a")}
    assert rows.faults == {}
    bodies = [("a", msgspec.msgpack.encode(Lamp(room="x"))), ("n", msgspec.msgpack.encode(Novelty()))]
    assert rows.digests() == [("s", digest_bytes(digest_of(bodies)))]


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x81\xa4kind\xa4lamp", msgspec.msgpack.encode({"kind": "lamp"})]
)
def test_a_broken_row_is_a_fault_until_it_is_mended_and_harms_no_other(rows: HostRows, body: bytes) -> None:
    rows.enter("s", [WireRow(key="a", body=body), sent("b", Lamp(room="x"))], is_last=True)
    assert rows.scopes["s"].keys() == {"b"}
    assert rows.faults[("s", "a")].startswith("The row cannot be read")
    rows.delta([sent("a", Lamp(room="x"), "s")])
    assert rows.faults == {}
    assert rows.scopes["s"].keys() == {"a", "b"}


def test_what_is_held_but_not_whole_is_told_apart(rows: HostRows) -> None:
    rows.enter("s", [sent("a", Lamp(room="x"))], is_last=True)
    whole = rows.interest()
    assert whole == interest_hash(["s"])
    rows.enter("s", [], is_last=False)
    assert rows.interest() == interest_hash([], ["s"]) != whole
    assert rows.digests() == [("s", b"")]


def test_differences_of_several_messages_add_up() -> None:
    one = Changed({("s", Lamp, "a")}, {"s", "t"}, {"u"})
    one.update(Changed({("s", Lamp, "b")}, {"u"}, {"t"}))
    assert one == Changed({("s", Lamp, "a"), ("s", Lamp, "b")}, {"s", "u"}, {"t"})
    assert one
    assert not Changed()
