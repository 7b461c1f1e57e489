# SPDX-License-Identifier: Apache-2.0
"""Requests, turns and followers of a store on a real log, and what becomes of them when the log goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import apsw
import pytest

from alcor.base import metrics
from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.errors import Conflict, NotFound, Unavailable
from alcor.store.declare import Change, Position
from alcor.store.log.contract import FORMAT
from alcor.store.log.sqlite import SqliteLog
from alcor.store.reader import Txn
from alcor.store.store import Outside, Store
from alcor.store.tables import START
from tests.store.faulty import Fault, FaultyLog
from tests.store.opener import Opener
from tests.store.world import NET, NET_VNI, SCHEMA, SUBNET, Net, Subnet


def add_net(id: str, name: str = "") -> Callable[[Txn], Net]:
    def request(txn: Txn) -> Net:
        new = Net(id=id, name=name, vni=txn.allocate(NET_VNI, "vni", ((1, 1000),)))
        txn.insert(NET, new)
        return new

    return request


async def test_a_request_is_answered_with_its_value_position_and_changes(open_store: Opener) -> None:
    store = await open_store()
    done = await store.submit(add_net("a"))
    assert done.value == Net(id="a", vni=1)
    assert done.position == store.tables.position == await store.caught_up()
    assert done.changes == (Change(1, "net", "a", None, Net(id="a", vni=1)),)
    assert store.tables.get(NET, "a") == done.value


async def test_a_refused_request_leaves_no_trace_and_the_others_go_on(open_store: Opener) -> None:
    store = await open_store()

    def half(txn: Txn) -> None:
        add_net("half")(txn)
        raise Conflict("enough")

    results = await asyncio.gather(
        store.submit(add_net("a")), store.submit(half), store.submit(add_net("b")), return_exceptions=True
    )
    assert isinstance(results[1], Conflict)
    assert [net.vni for net in store.tables.scan(NET)] == [1, 2]
    assert store.tables.revision == 2


async def test_a_fault_in_one_request_reaches_its_caller_alone(open_store: Opener) -> None:
    store = await open_store()

    def broken(txn: Txn) -> None:
        add_net("half")(txn)
        raise ZeroDivisionError("ours")

    results = await asyncio.gather(
        store.submit(add_net("a")), store.submit(broken), store.submit(add_net("b")), return_exceptions=True
    )
    assert isinstance(results[1], ZeroDivisionError)
    assert {net.id for net in store.tables.scan(NET)} == {"a", "b"}


async def test_what_cannot_be_encoded_fails_its_own_request_alone(open_store: Opener) -> None:
    store = await open_store()

    def too_large(txn: Txn) -> None:
        add_net("fits")(txn)
        txn.insert(NET, Net(id="large", vni=2**70))

    results = await asyncio.gather(
        store.submit(add_net("a")),
        store.submit(too_large),
        store.submit(add_net("b")),
        return_exceptions=True,
    )
    assert isinstance(results[1], OverflowError)
    assert [net.id for net in store.tables.scan(NET)] == ["a", "b"]
    await store.submit(add_net("c"))


async def test_a_request_that_only_reads_takes_no_revision(open_store: Opener) -> None:
    store = await open_store()
    await store.submit(add_net("a"))
    done = await store.submit(lambda txn: txn.get(NET, "a").vni)
    assert (done.value, done.position.revision, done.changes) == (1, 1, ())
    with pytest.raises(NotFound):
        await store.submit(lambda txn: txn.get(NET, "z"))


async def test_requests_that_wait_together_share_a_commit(open_store: Opener) -> None:
    store = await open_store()
    done = await asyncio.gather(*(store.submit(add_net(f"{number:03}")) for number in range(200)))
    assert len({committed.position.turn for committed in done}) < 20
    assert [change.revision for committed in done for change in committed.changes] == list(range(1, 201))
    assert sorted(net.vni or 0 for net in store.tables.scan(NET)) == list(range(1, 201))


async def test_clients_that_ask_again_once_they_are_answered_go_on_sharing_commits(
    open_store: Opener,
) -> None:
    store = await open_store()
    turns: list[Position] = []
    store.subscribe(lambda _, position: turns.append(position))

    async def client(name: str) -> None:
        for number in range(20):
            await store.submit(add_net(f"{name}{number}"))
            for _ in range(int(name) % 3):  # its next request is read and parsed
                await asyncio.sleep(0)

    await asyncio.gather(*(client(str(name)) for name in range(8)))
    assert store.tables.revision == 160
    assert len(turns) < 30


async def test_tenants_take_turns_however_much_one_of_them_asks(open_store: Opener) -> None:
    store = await open_store()
    ran: list[str] = []

    def asked(name: str) -> Callable[[Txn], None]:
        return lambda txn: ran.append(name)

    loud = [store.submit(asked("loud"), tenant="loud") for _ in range(50)]
    quiet = [store.submit(asked("quiet"), tenant="quiet") for _ in range(3)]
    await asyncio.gather(*loud, *quiet)
    assert ran[:6].count("quiet") == 3


async def test_a_turn_stops_admitting_when_its_time_is_up(open_store: Opener) -> None:
    store = await open_store(turn_ms_max=1)
    done = await asyncio.gather(*(store.submit(add_net(f"{number:04}")) for number in range(300)))
    assert len({committed.position.turn for committed in done}) > 1


async def test_too_many_waiting_requests_are_refused(open_store: Opener) -> None:
    store = await open_store(turn_queue_max=5)
    results = await asyncio.gather(
        *(store.submit(add_net(str(number))) for number in range(9)), return_exceptions=True
    )
    assert sum(isinstance(result, Unavailable) for result in results) == 4


async def test_a_request_whose_caller_has_gone_does_not_run(open_store: Opener) -> None:
    log = await _faulty(open_store)
    store, faulty = log
    faulty.held.clear()
    first = asyncio.create_task(store.submit(add_net("a")))
    await asyncio.sleep(0.05)
    gone = asyncio.create_task(store.submit(add_net("gone")))
    late = asyncio.create_task(store.submit(add_net("late"), deadline_s=0))
    await asyncio.sleep(0)
    gone.cancel()
    faulty.held.set()
    await first
    with pytest.raises(Unavailable, match="Nothing was changed"):
        await late
    await store.submit(add_net("b"))
    assert {net.id for net in store.tables.scan(NET)} == {"a", "b"}


async def test_nobody_sees_a_turn_before_it_is_durable(open_store: Opener) -> None:
    store, faulty = await _faulty(open_store)
    faulty.held.clear()
    writing = asyncio.create_task(store.submit(add_net("a")))
    await asyncio.sleep(0.05)
    assert await store.caught_up() == START
    assert store.tables.peek(NET, "a") is None
    faulty.held.set()
    await writing
    assert store.tables.peek(NET, "a") is not None


Seen = list[tuple[str, object]]


def follow(store: Store) -> Seen:
    seen: Seen = []

    def on_changes(changes: Sequence[Change], position: Position) -> None:
        assert store.tables.position == position
        assert changes[-1].revision == position.revision
        for change in changes:
            assert store.tables.peek(NET, change.id) == change.new
            seen.append((change.id, change.new))

    store.subscribe(on_changes, lambda position: seen.append(("reset", position.revision)))
    return seen


async def test_followers_are_called_in_the_order_of_the_log(open_store: Opener) -> None:
    store = await open_store()
    seen = follow(store)
    await asyncio.gather(*(store.submit(add_net(f"{number:03}")) for number in range(50)))
    assert [key_id for key_id, _ in seen] == [f"{number:03}" for number in range(50)]
    stop = store.subscribe(lambda changes, position: seen.append(("more", len(changes))))
    await store.submit(add_net("x"))
    stop()
    await store.submit(add_net("y"))
    assert [key_id for key_id, _ in seen[50:]] == ["x", "more", "y"]


async def test_another_process_sees_every_change_with_what_it_replaced(open_store: Opener) -> None:
    writer, reader = await open_store(), await open_store()
    changes: list[Change] = []
    reader.subscribe(lambda some, _: changes.extend(some))
    await writer.submit(add_net("a"))
    await writer.submit(lambda txn: txn.update(NET, Net(id="a", name="new", vni=7)))
    await writer.submit(lambda txn: txn.delete(NET, "a"))
    assert await reader.caught_up() == writer.tables.position
    old, new = Net(id="a", vni=1), Net(id="a", name="new", vni=7)
    assert changes == [
        Change(1, "net", "a", None, old),
        Change(2, "net", "a", old, new),
        Change(3, "net", "a", new, None),
    ]
    assert not reader.tables.is_held(NET_VNI, "vni", 7)


async def test_a_process_that_only_waits_hears_of_others_by_itself(open_store: Opener) -> None:
    writer, reader = await open_store(), await open_store()
    heard = asyncio.Event()
    reader.subscribe(lambda *_: heard.set())
    await writer.submit(add_net("a"))
    await asyncio.wait_for(heard.wait(), 5)
    assert reader.tables.get(NET, "a") == writer.tables.get(NET, "a")


async def test_processes_that_write_at_once_agree_on_everything(open_store: Opener) -> None:
    stores = [await open_store() for _ in range(3)]
    seen = [follow(store) for store in stores]

    async def write(place: int) -> None:
        for number in range(40):
            await stores[place].submit(add_net(f"{place}-{number:02}"))

    await asyncio.gather(*(write(place) for place in range(3)))
    positions = {(await store.caught_up()) for store in stores}
    assert len(positions) == 1
    assert seen[0] == seen[1] == seen[2]
    assert sorted(net.vni or 0 for net in stores[2].tables.scan(NET)) == list(range(1, 121))
    assert stores[0].tables.revision == 120


@pytest.mark.parametrize("far", [5, 2000])
async def test_a_process_that_is_behind_catches_up_before_it_writes(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch, far: int
) -> None:
    monkeypatch.setattr("alcor.store.store._FAR_BEHIND", far)
    ahead = await open_store()
    behind = await open_store(follow_ms=10_000)
    for number in range(30):
        await ahead.submit(add_net(f"{number:02}"))
    done = await behind.submit(add_net("mine"))
    assert (done.value.vni, done.position.revision) == (31, 31)


async def test_a_start_reads_what_is_there(open_store: Opener) -> None:
    store = await open_store()
    await store.submit(add_net("a"))
    await store.submit(lambda txn: txn.insert(SUBNET, Subnet(id="s", net="a")))
    await store.close()
    again = await open_store()
    assert again.tables.position.revision == 2
    assert again.tables.get(SUBNET, "s") == Subnet(id="s", net="a")
    assert again.tables.is_held(NET_VNI, "vni", 1)


async def _faulty(open_store: Opener, **settings: object) -> tuple[Store, FaultyLog]:
    faulty = FaultyLog(SqliteLog(open_store.path))
    return await open_store(faulty, **settings), faulty


@pytest.mark.parametrize("fault", [Fault.LANDS_UNANSWERED, Fault.DOES_NOT_LAND, Fault.MOVED])
async def test_a_commit_whose_answer_is_lost_is_looked_up_and_done_once(
    open_store: Opener, fault: Fault
) -> None:
    store, faulty = await _faulty(open_store)
    seen = follow(store)
    await store.submit(add_net("a"))
    faulty.faults = [fault]
    done = await asyncio.gather(store.submit(add_net("b")), store.submit(add_net("c")))
    assert [committed.value.vni for committed in done] == [2, 3]
    assert [key_id for key_id, _ in seen] == ["a", "b", "c"]
    assert (await faulty.log.head()) == store.tables.position == done[0].position
    assert store.tables.revision == 3
    tried = 2 if fault is Fault.LANDS_UNANSWERED else 3
    assert len(faulty.turns) == tried


async def test_a_turn_that_is_run_again_writes_the_same(open_store: Opener) -> None:
    store, faulty = await _faulty(open_store)
    random = Random(5)

    def mixed(number: int) -> Callable[[Txn], object]:
        key_id = f"{random.randrange(20):02}"

        def request(txn: Txn) -> object:
            if txn.peek(NET, key_id) is None:
                return add_net(key_id, str(number))(txn)
            if number % 3:
                return txn.delete(NET, key_id)
            return txn.update(NET, Net(id=key_id, name=str(number)))

        return request

    for number in range(40):
        faulty.faults = [Fault.DOES_NOT_LAND]
        await asyncio.gather(*(store.submit(mixed(6 * number + place)) for place in range(6)))
        lost, kept = faulty.turns[-2:]
        assert lost.records == kept.records
        assert lost.position.revision == kept.position.revision
        assert lost.position.turn != kept.position.turn


async def test_a_turn_that_the_log_never_takes_is_refused_in_the_end(open_store: Opener) -> None:
    store, faulty = await _faulty(open_store)
    faulty.faults = [Fault.DOES_NOT_LAND] * 50
    with pytest.raises(Unavailable, match="Nothing was changed"):
        await store.submit(add_net("a"))
    faulty.faults = []
    assert (await store.submit(add_net("b"))).value.vni == 1


async def test_while_an_outcome_is_unknown_nobody_is_answered_but_at_the_deadline(open_store: Opener) -> None:
    store, faulty = await _faulty(open_store)
    faulty.faults = [Fault.LANDS_UNANSWERED]
    faulty.held.clear()
    asked = asyncio.create_task(store.submit(add_net("a"), deadline_s=0.2))
    patient = asyncio.create_task(store.submit(add_net("b")))
    await asyncio.sleep(0.05)
    faulty.held.set()
    faulty.is_cut = True
    with pytest.raises(Unavailable, match="outcome is unknown"):
        await asked
    with pytest.raises(Unavailable):
        await store.caught_up()
    later = asyncio.create_task(store.submit(add_net("c")))
    await asyncio.sleep(0.1)
    assert not patient.done()
    assert not later.done()
    faulty.is_cut = False
    assert (await patient).value.vni == 2
    assert (await later).value.vni == 3
    assert {net.id for net in store.tables.scan(NET)} == {"a", "b", "c"}


async def test_a_commit_that_hangs_is_answered_as_unknown_at_the_deadline(open_store: Opener) -> None:
    store, faulty = await _faulty(open_store)
    faulty.held.clear()
    with pytest.raises(Unavailable, match="outcome is unknown"):
        await store.submit(add_net("a"), deadline_s=0.1)
    faulty.held.set()


async def test_a_log_that_refuses_a_commit_refuses_the_requests_and_then_goes_on(open_store: Opener) -> None:
    store, faulty = await _faulty(open_store)
    faulty.faults = [Fault.REFUSED]
    with pytest.raises(Unavailable, match=r"The disk is full. Nothing was changed."):
        await store.submit(add_net("a"))
    assert (await store.submit(add_net("a"))).value.vni == 1
    assert store.tables.revision == 1


async def test_a_log_out_of_reach_answers_reads_and_writes_with_503_until_it_is_back(
    open_store: Opener,
) -> None:
    store, faulty = await _faulty(open_store)
    await store.submit(add_net("a"))
    faulty.is_cut = True
    with pytest.raises(Unavailable, match="out of reach"):
        await store.caught_up()
    with pytest.raises(Unavailable, match="Nothing was changed"):
        await store.submit(add_net("b"))
    faulty.is_cut = False
    assert (await store.submit(add_net("c"))).value.vni == 2
    assert await store.caught_up() == store.tables.position


async def test_a_store_that_is_closed_refuses_what_waits_and_what_comes(open_store: Opener) -> None:
    store, faulty = await _faulty(open_store)
    faulty.held.clear()
    running = asyncio.create_task(store.submit(add_net("a")))
    await asyncio.sleep(0.05)
    waiting = asyncio.create_task(store.submit(add_net("b")))
    await asyncio.sleep(0)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0.01)
    faulty.held.set()
    await closing
    assert (await running).value.vni == 1
    with pytest.raises(Unavailable, match="being stopped"):
        await waiting
    for asked in (store.submit(add_net("c")), store.caught_up()):
        with pytest.raises(Unavailable, match="being stopped"):
            await asked
    await store.stopped()


async def test_a_store_that_cannot_learn_an_outcome_is_closed_all_the_same(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alcor.store.store._CLOSE_S", 0.1)
    store, faulty = await _faulty(open_store)
    faulty.faults = [Fault.LANDS_UNANSWERED]
    faulty.held.clear()
    asked = asyncio.create_task(store.submit(add_net("a")))
    await asyncio.sleep(0.05)
    faulty.held.set()
    faulty.is_cut = True
    await asyncio.sleep(0.05)
    await store.close()
    with pytest.raises(Unavailable, match="outcome is unknown"):
        await asked
    again = await open_store()
    assert {net.id for net in again.tables.scan(NET)} == {"a"}


async def test_a_follower_that_fails_breaks_the_store_loudly_and_leaves_nobody_waiting(
    open_store: Opener,
) -> None:
    store = await open_store()

    def fail(changes: Sequence[Change], position: Position) -> None:
        raise ZeroDivisionError("ours")

    store.subscribe(fail)
    assert (await store.submit(add_net("a"))).value.vni == 1
    with pytest.raises(ZeroDivisionError):
        await store.stopped()
    with pytest.raises(Unavailable, match="fault of its own"):
        await store.submit(add_net("b"))


async def test_a_log_of_a_newer_format_is_not_touched(tmp_path: Path, open_store: Opener) -> None:
    store = await open_store()
    await store.close()
    with apsw.Connection(str(tmp_path / "log.db")) as other:
        other.execute(f"UPDATE meta SET format = {FORMAT + 1}")
    other.close()
    with pytest.raises(Unavailable, match="upgrade"):
        await open_store()


async def test_turns_are_counted(tmp_path: Path) -> None:
    outside = Outside(SystemClock(), Random(), Settings())
    store = await Store.open(SCHEMA, SqliteLog(tmp_path / "log.db"), outside)
    await store.submit(add_net("a"))
    await store.submit(lambda txn: None)
    assert outside.meters.value(metrics.TURNS) == 1
    assert outside.meters.value(metrics.TURN_RECORDS) == 1
    assert outside.meters.value(metrics.TURN_REQUESTS) == 2
    assert outside.meters.value(metrics.LOG_REVISION) == 1
    await store.close()


async def test_history_that_is_old_is_forgotten_while_turns_go_on(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alcor.store.store._TRIM_S", 0.05)
    store = await open_store(history_s=0)
    for number in range(20):
        await store.submit(add_net(f"{number:02}"))
        await asyncio.sleep(0.01)
    for _ in range(100):
        if not isinstance(await store._log.follow(START, 1), list):
            break
        await asyncio.sleep(0.05)
    assert not isinstance(await store._log.follow(START, 1), list)
    assert (await store.submit(add_net("z"))).position.revision == 21


async def test_how_far_a_process_is_behind_is_shown_when_it_looks(tmp_path: Path) -> None:
    outside = Outside(SystemClock(), Random(), Settings(follow_ms=3_600_000))
    behind = await Store.open(SCHEMA, SqliteLog(tmp_path / "log.db"), outside)
    writer = await Store.open(
        SCHEMA, SqliteLog(tmp_path / "log.db"), Outside(SystemClock(), Random(), Settings())
    )
    for name in ("a", "b", "c"):
        await writer.submit(add_net(name))
    await behind.caught_up()
    assert outside.meters.value(metrics.LOG_LAG) == 3  # as found; then it followed
    await behind.caught_up()
    assert outside.meters.value(metrics.LOG_LAG) == 0
    await writer.close()
    await behind.close()
