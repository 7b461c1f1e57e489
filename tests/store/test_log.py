# SPDX-License-Identifier: Apache-2.0
"""What every log backend does. A new backend is added to `BACKENDS` and to nothing else here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from alcor.store.declare import Position
from alcor.store.log.contract import HeadMoved, Log, LogFault, PenHeld, Record, Reset, Turn
from alcor.store.log.sqlite import SqliteLog
from alcor.store.tables import START, Slice
from alcor.testing.memory_log import Disk, MemoryLog

Maker = Callable[[], Log]


def _sqlite(folder: Path) -> Maker:
    return lambda: SqliteLog(folder / "log.db")


def _memory(_: Path) -> Maker:
    disk = Disk()
    return lambda: MemoryLog(disk)


BACKENDS = {"sqlite": _sqlite, "memory": _memory}


@pytest.fixture(params=BACKENDS)
async def make(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Maker]:
    """Makes logs on one and the same store, as several processes have them."""
    made: list[Log] = []
    backend = BACKENDS[request.param](tmp_path)

    def one() -> Log:
        made.append(backend())
        return made[-1]

    yield one
    for log in made:
        await log.close()


@pytest.fixture
async def log(make: Maker) -> Log:
    log = make()
    await log.open()
    return log


def _turn(after: Position, *records: tuple[str, bytes | None], at_s: float = 0.0) -> Turn:
    position = Position(after.revision + len(records), f"{after.revision + 1:032x}")
    return Turn(position, at_s, [Record("net", key_id, None, new) for key_id, new in records])


async def _append(log: Log, *records: tuple[str, bytes | None], at_s: float = 0.0) -> Turn:
    head = await log.head()
    turn = _turn(head, *records, at_s=at_s)
    await log.append(head, turn)
    return turn


async def _objects(log: Log) -> dict[str, bytes]:
    slices: list[Slice] = []
    await log.load(slices.append)
    objects = [each for some in slices for each in zip(some.ids, some.rows, strict=True)]
    assert objects == sorted(objects)
    return dict(objects)


async def test_a_new_log_is_empty_and_at_the_start(log: Log) -> None:
    assert await log.head() == START
    assert await log.follow(START, 10) == []
    assert await _objects(log) == {}


async def test_what_was_appended_is_loaded_and_followed(log: Log) -> None:
    first = await _append(log, ("a", b"1"), ("b", b"2"), at_s=7.5)
    second = await _append(log, ("a", b"3"), ("b", None), ("c", b"4"))
    assert await log.head() == second.position == Position(5, second.position.turn)
    assert await _objects(log) == {"a": b"3", "c": b"4"}
    assert await log.follow(START, 100) == [first, second]
    assert await log.follow(first.position, 100) == [second]
    assert await log.follow(second.position, 100) == []


async def test_the_last_record_of_an_object_in_a_turn_is_its_state(log: Log) -> None:
    await _append(
        log, ("a", b"1"), ("a", None), ("b", b"1"), ("b", b"2"), ("c", b"1"), ("c", None), ("c", b"3")
    )
    assert await _objects(log) == {"b": b"2", "c": b"3"}


async def test_the_same_id_in_two_tables_is_two_objects(log: Log) -> None:
    turn = Turn(Position(2, "1" * 32), 0.0, [Record("net", "x", None, b"n"), Record("port", "x", None, b"p")])
    await log.append(START, turn)
    slices: list[Slice] = []
    assert await log.load(slices.append) == turn.position
    assert [(table, list(ids), list(rows)) for table, ids, rows in slices] == [
        ("net", ["x"], [b"n"]),
        ("port", ["x"], [b"p"]),
    ]


async def test_ids_and_rows_of_any_form_are_loaded_as_they_were_written(log: Log) -> None:
    objects = {"a,b": b"", "a": b"\x00\xff", "größer": b"\x80", "nul\x00nul": b"x" * 70_000}
    await _append(log, *objects.items())
    assert await _objects(log) == objects


async def test_turns_are_followed_whole_and_no_more_than_asked(log: Log) -> None:
    turns = [await _append(log, *[(f"{number}{place}", b"x") for place in range(3)]) for number in range(4)]
    assert await log.follow(START, 1) == turns[:1]
    assert await log.follow(START, 3) == turns[:1]
    assert await log.follow(START, 4) == turns[:2]
    assert await log.follow(turns[1].position, 100) == turns[2:]


async def test_a_turn_of_thousands_keeps_its_order(log: Log) -> None:
    turn = await _append(log, *[(f"{number:05}", b"%d" % number) for number in range(3333)])
    assert await log.follow(START, 1) == [turn]
    assert len(await _objects(log)) == 3333


async def test_an_append_on_another_head_changes_nothing(log: Log) -> None:
    turn = await _append(log, ("a", b"1"))
    for expected in (START, Position(1, "f" * 32), Position(2, turn.position.turn)):
        with pytest.raises(HeadMoved):
            await log.append(expected, _turn(expected, ("a", b"2")))
    assert await log.head() == turn.position
    assert await _objects(log) == {"a": b"1"}
    await _append(log, ("b", b"2"))


async def test_the_pen_keeps_others_from_writing_until_it_is_dropped(make: Maker) -> None:
    one, other = make(), make()
    await one.open()
    await other.open()
    head = await one.take_pen(1)
    with pytest.raises(PenHeld):
        await other.take_pen(0.01)
    with pytest.raises(LogFault):
        await other.append(head, _turn(head, ("a", b"1")))
    await one.drop_pen()
    assert await other.take_pen(1) == head
    await other.append(head, _turn(head, ("a", b"1")))
    assert await one.take_pen(1) == await other.head()
    await one.drop_pen()
    await one.drop_pen()


async def test_the_head_stays_while_the_pen_is_held_and_reads_go_on(make: Maker) -> None:
    one, other = make(), make()
    await one.open()
    await other.open()
    turn = await _append(one, ("a", b"1"))
    await one.take_pen(1)
    assert await other.head() == turn.position
    assert await _objects(other) == {"a": b"1"}
    assert await other.follow(START, 5) == [turn]


async def test_one_pen_passes_to_those_who_wait(make: Maker) -> None:
    logs = [make() for _ in range(3)]
    wrote = [0, 0, 0]
    for log in logs:
        await log.open()

    async def write(place: int) -> None:
        while sum(wrote) < 90:
            head = await logs[place].take_pen(10)
            await logs[place].append(head, _turn(head, (f"{head.revision:05}", b"x")))
            wrote[place] += 1

    await asyncio.gather(*(write(place) for place in range(3)))
    assert (await logs[0].head()).revision == sum(wrote)
    assert min(wrote) > 15


async def test_a_load_is_of_one_moment_though_turns_go_on(log: Log, make: Maker) -> None:
    await _append(log, *[(f"{number:05}", b"old") for number in range(12_000)])
    other = make()
    await other.open()
    seen: list[bytes] = []
    writing: list[asyncio.Task[Turn]] = []

    def take(some: Slice) -> None:
        seen.extend(some.rows)
        if not writing:
            writing.append(
                asyncio.create_task(_append(other, ("00001", b"new"), ("11999", b"new"), ("12000", b"new")))
            )

    position = await log.load(take)
    await writing[0]
    assert position.revision == 12_000
    assert set(seen) == {b"old"}
    assert len(seen) == 12_000
    assert len(await log.follow(position, 10)) == 1


async def test_a_position_of_another_history_is_told_to_load(log: Log) -> None:
    first = await _append(log, ("a", b"1"), ("b", b"1"))
    second = await _append(log, ("a", b"2"))
    for stranger in (
        Position(2, "e" * 32),
        Position(1, second.position.turn),
        Position(3, first.position.turn),
        Position(4, second.position.turn),
        Position(99, "e" * 32),
        Position(0, "e" * 32),
    ):
        assert await log.follow(stranger, 10) == Reset(second.position)


async def test_a_turn_is_found_by_its_id(log: Log) -> None:
    first = await _append(log, ("a", b"1"), ("b", b"1"))
    second = await _append(log, ("a", b"2"))
    assert await log.find_turn(first.position.turn, START) == first.position
    assert await log.find_turn(second.position.turn, first.position) == second.position
    assert await log.find_turn("d" * 32, START) is None


async def test_history_is_forgotten_from_its_old_end_and_never_the_last_turn(log: Log) -> None:
    turns = [await _append(log, (f"{at}", b"x"), (f"{at}b", b"x"), at_s=at) for at in range(10)]
    assert await log.trim(5, 3) == 4
    assert await log.trim(5, 100) == 6
    assert await log.trim(5, 100) == 0
    assert await log.follow(START, 100) == Reset(turns[-1].position)
    assert await log.follow(turns[3].position, 100) == Reset(turns[-1].position)
    assert await log.follow(turns[4].position, 100) == turns[5:]
    assert await log.trim(99, 100) == 8
    assert await log.head() == turns[-1].position
    assert len(await _objects(log)) == 20
    after = await _append(log, ("z", b"x"))
    assert await log.follow(turns[-1].position, 100) == [after]


async def test_what_was_written_is_there_after_it_was_opened_again(log: Log, make: Maker) -> None:
    turn = await _append(log, ("a", b"1"))
    await log.close()
    again = make()
    await again.open()
    assert await again.head() == turn.position
    assert await _objects(again) == {"a": b"1"}


async def test_a_log_that_was_closed_with_the_pen_gives_it_back(make: Maker) -> None:
    one, other = make(), make()
    await one.open()
    await one.take_pen(1)
    await one.close()
    await one.close()
    await other.open()
    await _append(other, ("a", b"1"))
