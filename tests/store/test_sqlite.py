# SPDX-License-Identifier: Apache-2.0
"""The SQLite log under what happens to files and processes: kill -9, a stopped holder, a full disk, a copy."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from random import Random

import apsw
import pytest

from alcor.base.errors import Unavailable
from alcor.store.declare import Position
from alcor.store.log import sqlite_file
from alcor.store.log.contract import LogFault
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Store
from alcor.store.tables import START
from tests.store.opener import Opener
from tests.store.test_store import add_net
from tests.store.world import NET, NET_VNI, PORT
from tests.store.writer import pair

ROOT = Path(__file__).parents[2]


@contextmanager
def process(path: Path, name: str, verb: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.store.writer", str(path), name, verb],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def killed(child: subprocess.Popen[str]) -> list[str]:
    """What the process had acknowledged when it was killed."""
    child.kill()
    child.wait()
    assert child.stdout is not None
    lines = child.stdout.read().splitlines(keepends=True)
    return [line.split()[0] for line in lines if line.endswith("\n")]


async def whole(store: Store) -> set[str]:
    """The names of all pairs, each of which must be whole; checks that history is too."""
    tables = store.tables
    names = {net.id for net in tables.scan(NET)}
    assert {port.id for port in tables.scan(PORT)} == {f"{name}-{half}" for name in names for half in "ab"}
    position, seen = START, 0
    while turns := await store._log.follow(position, 1000):
        assert isinstance(turns, list)
        for turn in turns:
            assert turn.position.revision - len(turn.records) == position.revision
            assert [record.table for record in turn.records] == ["net", "port", "port"] * (
                len(turn.records) // 3
            )
            position = turn.position
            seen += len(turn.records)
    assert position == tables.position
    assert seen == tables.revision == 3 * len(names)
    return names


@pytest.mark.parametrize("writers", [1, 2])
async def test_a_writer_killed_at_any_point_loses_nothing_that_it_acknowledged(
    open_store: Opener, writers: int
) -> None:
    random = Random(writers)
    acknowledged: set[str] = set()
    for kill in range(6 if writers == 1 else 4):
        with process(open_store.path, f"{kill}x", "tell") as first:
            if writers == 1:
                await asyncio.sleep(random.uniform(0, 0.25))
                acknowledged |= set(killed(first))
            else:
                with process(open_store.path, f"{kill}y", "tell") as second:
                    await asyncio.sleep(random.uniform(0.05, 0.25))
                    acknowledged |= set(killed(first))
                    await asyncio.sleep(0.05)
                    acknowledged |= set(killed(second))
        store = await open_store()
        assert acknowledged <= await whole(store)
        await store.submit(pair(f"after{kill}"))
        acknowledged.add(f"after{kill}")
        await store.close()
    assert len(acknowledged) > 20


async def test_two_busy_processes_pass_the_pen_to_one_another(open_store: Opener) -> None:
    store = await open_store()
    turns: list[str] = []
    store.subscribe(lambda changes, _: turns.append(changes[0].id[0]))
    with process(open_store.path, "x", "write"), process(open_store.path, "y", "write"):
        await store.caught_up()
        turns.clear()  # one was there before the other
        while len(turns) < 200:
            await store.caught_up()
    passed = sum(one != other for one, other in pairwise(turns))
    assert passed > 0.7 * len(turns)  # whom SQLite alone lets write goes on for up to twenty turns
    await store.caught_up()
    await whole(store)


async def test_a_stopped_holder_of_the_pen_is_named_and_reads_go_on(open_store: Opener) -> None:
    store = await open_store(pen_wait_s=0.3)
    await store.submit(add_net("a"))
    with process(open_store.path, "x", "hold") as child:
        with pytest.raises(
            Unavailable, match=f"Process {child.pid} has held .*kill -CONT.*Nothing was changed"
        ):
            await store.submit(add_net("b"))
        assert (await store.caught_up()).revision == 1
        assert store.tables.get(NET, "a").vni == 1
        child.send_signal(signal.SIGCONT)
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
    assert (await store.submit(add_net("b"))).value.vni == 2


def copy_of(path: Path, to: Path) -> Path:
    source = apsw.Connection(str(path))
    source.execute("VACUUM INTO ?", (str(to),))
    source.close()
    return to


async def converged(stores: list[Store], names: set[str]) -> None:
    for store in stores:
        await store.caught_up()
        assert {net.id for net in store.tables.scan(NET)} == names
        assert {net.vni for net in store.tables.scan(NET)} == set(range(1, len(names) + 1))
        assert all(store.tables.is_held(NET_VNI, "vni", number) for number in range(1, len(names) + 1))
    assert len({store.tables.position for store in stores}) == 1


@pytest.mark.parametrize("way", ["renamed over it", "put there after removing it all", "restored into it"])
@pytest.mark.parametrize("after", [0, 1, 5])
async def test_an_older_copy_put_under_running_stores_is_what_all_converge_to(
    open_store: Opener, tmp_path: Path, way: str, after: int
) -> None:
    stores = [await open_store(), await open_store()]
    resets: list[Position] = []
    stores[1].subscribe(lambda *_: None, resets.append)
    for name in "ab":
        await stores[0].submit(add_net(name))
    older = copy_of(open_store.path, tmp_path / "older")
    for number in range(1, 6):
        await stores[number % 2].submit(add_net(f"lost{number}"))
    names = {"a", "b"}
    if after:
        # The copy has a history of its own: shorter than ours, or as long.
        other = await Opener(tmp_path)(SqliteLog(older))
        for number in range(after):
            names.add((await other.submit(add_net(f"other{number}"))).value.id)
        await other.close()
    put(way, older, open_store.path)
    await converged(stores, names)
    assert resets == [stores[1].tables.position]
    assert (await stores[1].submit(add_net("z"))).value.vni == len(names) + 1
    stores.append(await open_store())
    await converged(stores, names | {"z"})


def put(way: str, older: Path, path: Path) -> None:
    if way == "renamed over it":
        older.rename(path)
    elif way == "restored into it":
        into, source = apsw.Connection(str(path)), apsw.Connection(str(older))
        with into.backup("main", source, "main") as backup:
            backup.step()
        into.close()
        source.close()
    else:
        for side in ("", "-wal", "-shm"):
            path.with_name(path.name + side).unlink()
        shutil.copy(older, path.with_name("new"))
        path.with_name("new").rename(path)


@pytest.mark.parametrize("when", ["before it is opened", "before it is read", "after it was read"])
async def test_a_log_that_is_replaced_while_it_is_opened_is_not_mixed_with_the_old_one(
    open_store: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    first = await open_store()
    await first.submit(add_net("a"))
    older = copy_of(open_store.path, tmp_path / "older")
    await first.submit(add_net("lost"))
    set_up, connect = sqlite_file._set_up, apsw.Connection

    def replace(at: str) -> None:
        if when == at and older.exists():
            older.rename(open_store.path)

    def connected(name: str, flags: int) -> apsw.Connection:
        replace("before it is opened")
        connection = connect(name, flags=flags)
        replace("before it is read")
        return connection

    def read(connection: apsw.Connection, path: Path, *, may_create: bool) -> None:
        set_up(connection, path, may_create=may_create)
        replace("after it was read")

    monkeypatch.setattr(apsw, "Connection", connected)
    monkeypatch.setattr(sqlite_file, "_set_up", read)
    second = await open_store()
    await converged([first, second], {"a"})
    await second.submit(add_net("b"))
    await converged([first, second], {"a", "b"})


async def test_stores_that_write_while_the_log_is_replaced_agree_in_the_end(
    open_store: Opener, tmp_path: Path
) -> None:
    stores = [await open_store() for _ in range(3)]
    await stores[0].submit(add_net("kept"))
    older = copy_of(open_store.path, tmp_path / "older")
    answers: list[Position] = []

    async def write(place: int) -> None:
        for number in range(60):
            try:
                answers.append((await stores[place].submit(add_net(f"{place}-{number:02}"))).position)
            except Unavailable:
                await asyncio.sleep(0.01)

    writing = [asyncio.create_task(write(place)) for place in range(3)]
    await asyncio.sleep(0.1)
    older.rename(open_store.path)
    await asyncio.gather(*writing)
    stores.append(await open_store())
    for store in stores:
        await store.caught_up()
    found = [{net.id: net for net in store.tables.scan(NET)} for store in stores]
    assert found[0] == found[1] == found[2] == found[3]
    assert "kept" in found[0]
    assert len({net.vni for net in found[0].values()}) == len(found[0])
    assert stores[0].tables.revision == len(found[0])


async def test_a_commit_into_a_file_that_was_just_replaced_counts_for_nothing(
    open_store: Opener, tmp_path: Path
) -> None:
    store = await open_store()
    await store.submit(add_net("a"))
    older = copy_of(open_store.path, tmp_path / "older")
    await store.submit(add_net("lost"))
    pen = store._log._pen  # type: ignore[attr-defined]

    def replace() -> bool:
        if older.exists():
            older.rename(open_store.path)
        return False

    await pen.do(lambda: pen.connector.get().set_commit_hook(replace))
    assert (await store.submit(add_net("b"))).value.vni == 2
    assert {net.id for net in store.tables.scan(NET)} == {"a", "b"}
    again = await open_store()
    assert {net.id for net in again.tables.scan(NET)} == {"a", "b"}


async def test_a_new_process_does_not_play_the_write_ahead_log_of_the_old_file_into_the_new(
    open_store: Opener, tmp_path: Path
) -> None:
    with process(open_store.path, "x", "write") as child:
        await asyncio.sleep(0.2)
        older = copy_of(open_store.path, tmp_path / "older")
        child.send_signal(signal.SIGSTOP)  # so that it cannot notice
        with apsw.Connection(str(older)) as copy:
            revision = copy.execute("SELECT revision FROM meta").get
        copy.close()
        older.rename(open_store.path)
        store = await open_store()
        assert store.tables.revision == revision
        await whole(store)
        await store.submit(pair("mine"))
        child.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.3)
        killed(child)
    await store.caught_up()
    assert "mine" in await whole(store)


async def test_a_log_that_is_moved_away_is_missed_and_found_again(open_store: Opener, tmp_path: Path) -> None:
    store = await open_store()
    await store.submit(add_net("a"))
    away = tmp_path / "away"
    open_store.path.rename(away)
    with pytest.raises(Unavailable):
        await store.submit(add_net("b"))
    with pytest.raises(Unavailable):
        await store.caught_up()
    assert not open_store.path.exists()
    open_store.path.touch()
    with pytest.raises(Unavailable, match="empty"):
        await store.caught_up()
    away.rename(open_store.path)
    assert (await store.submit(add_net("b"))).value.vni == 2


async def test_a_folder_that_turns_into_something_else_is_named_and_work_goes_on_when_it_is_back(
    tmp_path: Path,
) -> None:
    folder, away = tmp_path / "state", tmp_path / "away"
    folder.mkdir()
    opener = Opener(folder)
    store = await opener()
    await store.submit(add_net("a"))
    folder.rename(away)
    folder.touch()  # as bad as a disk that answers with errors
    with pytest.raises(Unavailable, match=r"is gone|Not a directory"):
        await store.caught_up()
    with pytest.raises(Unavailable, match=r"is gone|Not a directory"):
        await store.submit(add_net("b"))
    folder.unlink()
    away.rename(folder)
    assert (await store.submit(add_net("b"))).value.vni == 2
    await opener.close()


async def test_history_that_cannot_be_forgotten_keeps_nobody_from_writing(open_store: Opener) -> None:
    store, other = await open_store(), await open_store()
    await store.submit(add_net("a"))
    await store.submit(add_net("b"))
    pen = store._log._pen  # type: ignore[attr-defined]
    await pen.do(lambda: pen.connector.get().pragma("query_only", 1))
    with pytest.raises(LogFault, match="read-only"):
        await store._log.trim(float("inf"), 10)
    assert (await other.submit(add_net("c"))).value.vni == 3


async def test_a_disk_that_is_full_is_named_and_work_goes_on_when_there_is_room(open_store: Opener) -> None:
    store = await open_store()
    await store.submit(add_net("a"))
    pen = store._log._pen  # type: ignore[attr-defined]

    async def limit(pages: int) -> None:
        await pen.do(lambda: pen.connector.get().pragma("max_page_count", pages))

    await limit(1)
    with pytest.raises(Unavailable, match=r"cannot grow: its disk is full.*Nothing was changed"):
        await fill(store, 100, 5000)
    before = {net.id for net in store.tables.scan(NET)}
    assert (await store.caught_up()).revision == len(before)
    await limit(1_000_000)
    await store.submit(add_net("after"))
    again = await open_store()
    assert {net.id for net in again.tables.scan(NET)} == before | {"after"}


async def test_a_file_that_became_read_only_is_named_and_work_goes_on_when_it_is_mended(
    open_store: Opener,
) -> None:
    store = await open_store()
    await store.submit(add_net("a"))
    pen = store._log._pen  # type: ignore[attr-defined]
    await pen.do(lambda: pen.connector.get().pragma("query_only", 1))
    with pytest.raises(Unavailable, match="read-only"):
        await store.submit(add_net("b"))
    assert (await store.caught_up()).revision == 1
    await pen.do(lambda: pen.connector.get().pragma("query_only", 0))
    assert (await store.submit(add_net("b"))).value.vni == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(disk: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)


async def fill(store: Store, many: int, size: int) -> None:
    for number in range(many):
        await store.submit(add_net(f"{number:04}", "x" * size))


async def test_a_real_disk_that_fills_up_loses_nothing(small_disk: Path) -> None:
    opener = Opener(small_disk)
    store = await opener()
    with pytest.raises(Unavailable, match="full"):
        await fill(store, 1000, 1000)
    before = {net.id for net in store.tables.scan(NET)}
    assert len(before) > 5
    assert (await store.caught_up()).revision == len(before)
    remount(small_disk, "size=30m")
    await store.submit(add_net("after"))
    again = await opener()
    assert {net.id for net in again.tables.scan(NET)} == before | {"after"}
    await opener.close()


async def test_a_log_on_a_read_only_disk_does_not_open_and_does_once_mended(small_disk: Path) -> None:
    opener = Opener(small_disk)
    store = await opener()
    await store.submit(add_net("a"))
    await store.close()
    remount(small_disk, "ro")
    with pytest.raises(Unavailable, match="read-only"):
        await opener()
    remount(small_disk, "rw")
    store = await opener()
    assert store.tables.get(NET, "a").vni == 1
    assert (await store.submit(add_net("b"))).value.vni == 2
    await opener.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no database at all" * 400, "damaged, or is no Alcor log"), (None, "is not an Alcor log")],
)
async def test_a_file_that_is_no_log_is_refused_and_left_alone(
    open_store: Opener, content: bytes | None, words: str
) -> None:
    if content is None:
        with apsw.Connection(str(open_store.path)) as other:
            other.execute("CREATE TABLE mine (x)")
        other.close()
        content = open_store.path.read_bytes()
    else:
        open_store.path.write_bytes(content)
    with pytest.raises(Unavailable, match=words):
        await open_store()
    assert open_store.path.read_bytes() == content


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogFault, match="cannot be made"):
        await SqliteLog(tmp_path / "file" / "log.db").open()


async def test_the_write_ahead_log_stays_small_under_constant_writing(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alcor.store.log.sqlite._WAL_PAGES", 64)
    store = await open_store()
    largest, side = 0, open_store.path.with_name("log.db-wal")
    for number in range(300):
        await asyncio.gather(
            *(store.submit(add_net(f"{number:03}-{place}", "x" * 500)) for place in range(3))
        )
        largest = max(largest, side.stat().st_size)
    assert largest < 3_700_000  # half of what it grows to when nobody writes it back


async def test_a_log_made_by_two_processes_at_once_is_one_log(open_store: Opener) -> None:
    stores = await asyncio.gather(*(open_store() for _ in range(4)))
    await asyncio.gather(*(store.submit(add_net(str(place))) for place, store in enumerate(stores)))
    for store in stores:
        assert (await store.caught_up()).revision == 4
