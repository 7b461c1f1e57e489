# SPDX-License-Identifier: Apache-2.0
"""Nova, over real HTTP on loopback, is told everything at least once and in order, whatever fails and restarts."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.metrics import NOTICES
from alcor.base.telemetry import Meters
from alcor.features.binding.model import BINDING_STATUS, BindingStatus, PortBinding
from alcor.features.binding.rules import notices as notices_of_bindings
from alcor.features.port.model import PORT, PORT_STATUS, Port, PortStatus
from alcor.features.port.rules import notices
from alcor.notify import ledger
from alcor.notify.nova import Nova
from alcor.notify.service import LEDGER_FILE, Notifier
from alcor.push.pki import authority
from alcor.resource.declare import Notice, RestFeature
from alcor.store.declare import Change, Index, Schema, Stored, Table
from alcor.store.log.sqlite import SqliteLog
from alcor.store.reader import Reader, Txn
from alcor.store.store import Outside, Store
from tests.notify.fake_nova import FakeNova, fake_nova


class Thing(Stored, frozen=True):
    at: int = 0
    server: str = "server"


THING: Table[Thing] = Table("thing", Thing)


def of_thing(reader: Reader, change: Change) -> Iterator[Notice]:
    thing = change.new or change.old
    yield Notice(thing.server, "network-changed", change.id, str(thing.at))


@pytest.fixture
def nova() -> Iterator[FakeNova]:
    with fake_nova() as fake:
        yield fake


class Cloud:
    """A store, and a notifier that is started and stopped."""

    def __init__(self, store: Store, outside: Outside) -> None:
        self.store, self.outside, self.state = store, outside, outside.settings.state

    async def put(self, *ids: str, **fields: Any) -> None:
        await self.store.submit(lambda txn: [txn.insert(THING, Thing(id=one, **fields)) for one in ids])

    def counted(self, outcome: str) -> float:
        return self.outside.meters.value(NOTICES, outcome)

    def told(self) -> ledger.Told:
        told = ledger.read(self.state / LEDGER_FILE)
        assert told is not None
        return told

    @asynccontextmanager
    async def notifying(self) -> AsyncIterator[None]:
        source, nova = SqliteLog(self.state / "alcor.db"), Nova(self.outside.settings)
        features = (RestFeature("thing", notices=of_thing),)
        task = asyncio.create_task(Notifier((self.store, source), features, nova, self.outside).run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))
            await nova.close()
            await source.close()


@asynccontextmanager
async def cloud(path: Path, nova: FakeNova, **more: Any) -> AsyncIterator[Cloud]:
    said = {"nova_url": f"{nova.url}/v2.1", "notify_batch_max": 10} | more
    outside = Outside(SystemClock(), random.Random(1), Settings(state=path, **said), Meters())
    store = await Store.open(Schema((THING,)), SqliteLog(path / "alcor.db"), outside)
    try:
        yield Cloud(store, outside)
    finally:
        await store.close()


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


async def begun(one: Cloud) -> None:
    await until(lambda: (one.state / LEDGER_FILE).exists())


async def test_a_bulk_is_told_in_order_and_in_bounded_batches(tmp_path: Path, nova: FakeNova) -> None:
    wanted = [f"{number:03}" for number in range(35)]
    async with cloud(tmp_path, nova) as one, one.notifying():
        await begun(one)
        await one.put(*wanted)
        await until(lambda: one.told().delivered == 35)
    assert nova.tags == wanted
    assert max(nova.sizes) == 10
    assert nova.got[0] == {"server_uuid": "server", "name": "network-changed", "tag": "000", "status": "0"}


async def test_what_happened_while_it_was_stopped_is_told_after_a_restart(
    tmp_path: Path, nova: FakeNova
) -> None:
    async with cloud(tmp_path, nova) as one:
        async with one.notifying():
            await begun(one)
            await one.put("a")
            await until(lambda: one.told().delivered == 1)
        await one.put("b")
        await one.store.submit(lambda txn: txn.delete(THING, "b"))
        async with one.notifying():
            await until(lambda: one.told().delivered == 3)
    assert nova.tags == ["a", "b", "b"]


async def test_what_history_has_forgotten_is_counted_as_skipped_and_what_follows_is_told(
    tmp_path: Path, nova: FakeNova
) -> None:
    async with cloud(tmp_path, nova) as one:
        async with one.notifying():
            await begun(one)
        await one.put("forgotten")
        await one.put("kept")
        log = SqliteLog(tmp_path / "alcor.db")
        await log.open()
        assert await log.trim(float("inf"), 1) == 1
        await log.close()
        async with one.notifying():
            await until(lambda: one.counted("skipped") == 1)
            await one.put("a")
            await until(lambda: one.told().delivered == 1)
    assert nova.tags == ["a"]


async def test_a_place_that_cannot_be_written_holds_up_nothing_and_leads_to_telling_again(
    tmp_path: Path, nova: FakeNova
) -> None:
    in_the_way = tmp_path / f"{LEDGER_FILE}-new"
    async with cloud(tmp_path, nova) as one:
        async with one.notifying():
            await begun(one)
            in_the_way.mkdir()
            await one.put("a")
            await until(lambda: nova.tags == ["a"])
        in_the_way.rmdir()
        async with one.notifying():
            await until(lambda: nova.tags == ["a", "a"])


async def test_nothing_is_lost_while_nova_fails_and_the_notifier_is_restarted(
    tmp_path: Path, nova: FakeNova
) -> None:
    nova.always = 503
    async with cloud(tmp_path, nova) as one:
        async with one.notifying():
            await begun(one)
            await one.put("a", "b")
            await until(lambda: one.outside.meters.value(NOTICES, "retried") > 0)
        nova.always, nova.answers = 200, [500, 0, 429]
        async with one.notifying():
            await until(lambda: one.told().delivered == 2)
    assert nova.tags == ["a", "b"]


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_what_nova_never_takes_is_kept_in_a_bounded_list_and_holds_up_nothing(
    tmp_path: Path, nova: FakeNova, status: int
) -> None:
    nova.always = status
    async with cloud(tmp_path, nova, notify_failed_max=2) as one, one.notifying():
        await begun(one)
        await one.put("a", "b", "c")
        await until(lambda: one.told().failed_count == 3)
        nova.always = 200
        await one.put("d")
        await until(lambda: one.told().delivered == 1)
        assert [failed.notice.tag for failed in one.told().failed] == ["b", "c"]
        assert str(status) in one.told().failed[0].why
    assert nova.tags == ["d"]


async def test_one_event_that_nova_refuses_takes_no_other_of_its_batch_with_it(
    tmp_path: Path, nova: FakeNova
) -> None:
    wanted = [f"{number:02}" for number in range(10)]
    nova.refused = {"03"}
    async with cloud(tmp_path, nova) as one, one.notifying():
        await begun(one)
        await one.put(*wanted)
        await until(lambda: one.told().delivered == 9)
        assert [failed.notice.tag for failed in one.told().failed] == ["03"]
    assert nova.tags == [tag for tag in wanted if tag != "03"]


async def test_a_nova_that_does_not_answer_in_time_is_asked_again(tmp_path: Path, nova: FakeNova) -> None:
    nova.gate.clear()
    async with cloud(tmp_path, nova, nova_timeout_s=0.1) as one, one.notifying():
        await begun(one)
        await one.put("a")
        await until(lambda: one.counted("retried") >= 2)
        assert one.told().delivered == 0
        nova.gate.set()
        await until(lambda: one.told().delivered == 1)
    assert set(nova.tags) == {"a"}


async def test_a_nova_that_answers_without_an_end_is_given_up_in_time(tmp_path: Path, nova: FakeNova) -> None:
    nova.is_dripping = True
    async with cloud(tmp_path, nova, nova_timeout_s=0.1, notify_retry_s=0) as one, one.notifying():
        await begun(one)
        await one.put("a")
        await until(lambda: one.told().failed_count == 1)
        assert one.told().failed[0].why == "Nova did not answer within 0.1 s"


async def test_attempts_are_few_and_bounded_by_time(tmp_path: Path, nova: FakeNova) -> None:
    nova.always = 503
    async with cloud(tmp_path, nova, notify_retry_s=1) as one, one.notifying():
        await begun(one)
        await one.put("a")
        await until(lambda: one.told().failed_count == 1)
    assert len(nova.begun) <= 6  # 0.1, 0.2, 0.4, 0.8 s apart


async def test_an_url_without_version_is_no_unknown_server(tmp_path: Path, nova: FakeNova) -> None:
    async with cloud(tmp_path, nova, nova_url=nova.url, notify_retry_s=0) as one, one.notifying():
        await begun(one)
        await one.put("a")
        await until(lambda: one.told().failed_count == 1)
        assert "with its version" in one.told().failed[0].why


async def test_nova_over_tls_is_known_by_its_own_authority(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    signer = authority(tmp_path / "ours", now)
    other = authority(tmp_path / "other", now)
    with fake_nova(signer.issue_server("127.0.0.1", now)) as nova:
        async with cloud(tmp_path / "1", nova, nova_ca_file=signer.file) as one, one.notifying():
            await begun(one)
            await one.put("a")
            await until(lambda: one.told().delivered == 1)
        more: dict[str, Any] = {"nova_ca_file": other.file, "notify_retry_s": 0}
        async with cloud(tmp_path / "2", nova, **more) as one, one.notifying():
            await begun(one)
            await one.put("b")
            await until(lambda: one.told().failed_count == 1)
            assert "CERTIFICATE_VERIFY_FAILED" in one.told().failed[0].why
    assert nova.tags == ["a"]


async def test_what_is_not_taken_in_time_is_given_up(tmp_path: Path, nova: FakeNova) -> None:
    nova.answers = [503]
    async with cloud(tmp_path, nova, notify_retry_s=0) as one, one.notifying():
        await begun(one)
        await one.put("a")
        await until(lambda: one.told().failed_count == 1)


async def test_servers_that_nova_does_not_know_are_not_tried_again(tmp_path: Path, nova: FakeNova) -> None:
    nova.unknown = {"gone"}
    async with cloud(tmp_path, nova) as one, one.notifying():
        await begun(one)
        await one.put("a", server="gone")
        await until(lambda: one.told().delivered == 1)

        def some(txn: Txn) -> None:
            for name, server in (("b", "server"), ("c", "gone"), ("d", "server")):
                txn.insert(THING, Thing(id=name, server=server))

        await one.store.submit(some)
        await until(lambda: one.told().delivered == 4)
        assert (one.counted("delivered"), one.counted("unknown"), one.told().failed_count) == (2, 2, 0)
    assert nova.tags == ["b", "d"]


async def test_of_two_notifiers_one_tells_and_the_other_takes_over(tmp_path: Path, nova: FakeNova) -> None:
    async with cloud(tmp_path, nova) as one:
        async with one.notifying():
            await begun(one)
            async with one.notifying():
                await one.put("a")
                await until(lambda: one.told().delivered == 1)
        async with one.notifying():
            await one.put("b")
            await until(lambda: one.told().delivered == 2)
    assert nova.tags == ["a", "b"]


async def test_the_endpoint_and_a_fresh_token_come_from_keystone(tmp_path: Path, nova: FakeNova) -> None:
    nova.answers = [401]
    more = {"nova_url": "catalogue", "keystone_url": f"{nova.url}/v3", "nova_region": "one"}
    async with cloud(tmp_path, nova, **more) as one, one.notifying():
        await begun(one)
        await one.put("a")
        await until(lambda: one.told().delivered == 1)
    assert nova.tokens == ["token-1", "token-2"]


async def test_an_answer_of_keystone_that_makes_no_sense_is_asked_for_again(
    tmp_path: Path, nova: FakeNova
) -> None:
    nova.is_garbled = True
    more = {"nova_url": "catalogue", "keystone_url": f"{nova.url}/v3", "nova_region": "one"}
    async with cloud(tmp_path, nova, **more) as one, one.notifying():
        await begun(one)
        await one.put("a")
        await until(lambda: one.told().delivered == 1)
    assert nova.logins == 2


class _State:
    def __init__(self, *stored: Stored) -> None:
        self._stored = stored

    def peek(self, table: Table[Any], id: str) -> Any:
        return next((one for one in self._stored if isinstance(one, table.kind) and one.id == id), None)

    def find(self, table: Table[Any], index: Index[Any], key: object) -> list[Any]:
        return [one for one in self._stored if isinstance(one, table.kind) and key in index.keys(one)]

    def first(self, table: Table[Any], index: Index[Any], key: object) -> Any:
        return next(iter(self.find(table, index, key)), None)


def names(table: Table[Any], old: Any, new: Any, *now: Stored, request: str = "") -> list[tuple[str, str]]:
    state: Any = _State(*now)
    change = Change(1, table.name, (new or old).id, old, new, request)
    return [
        (each.name, each.status)
        for tell in (notices, notices_of_bindings)
        for each in tell(state, change)
        if each.tag == "p"
    ]


def a_port(**fields: Any) -> Port:
    usual = {
        "device_id": "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        "device_owner": "compute:nova",
        "vif_type": "ovs",
        "host": "h",
        "generation": 1,
    }
    return Port(id="p", network_id="n", **(usual | fields))


def seen(*, is_realised: bool) -> PortStatus:
    return PortStatus(id="p", generation=1, is_realised=is_realised)


def test_a_port_that_becomes_active_or_down_is_plugged_or_unplugged() -> None:
    up, down = seen(is_realised=True), seen(is_realised=False)
    assert names(PORT_STATUS, None, up, a_port()) == [("network-vif-plugged", "completed")]
    assert names(PORT_STATUS, up, down, a_port()) == [("network-vif-unplugged", "completed")]
    assert names(PORT_STATUS, None, down, a_port()) == []
    unbound = a_port(vif_type="unbound", host="", generation=2)
    assert names(PORT, a_port(), unbound, up) == [
        ("network-vif-unplugged", "completed"),
        ("network-changed", ""),
    ]


def test_a_deleted_or_changed_port_is_told_for_machines_only() -> None:
    assert names(PORT, a_port(), None) == [("network-vif-deleted", "")]
    assert names(PORT, a_port(), a_port(name="new")) == [("network-changed", "")]
    assert names(PORT, None, a_port()) == []
    assert names(PORT, a_port(device_owner="network:dhcp"), None) == []
    assert names(PORT, a_port(device_id="no id of Nova's"), None) == []
    assert names(PORT_STATUS, seen(is_realised=True), None) == []


def test_a_port_plugged_where_a_binding_waits_is_told_once_for_nova_waits_for_it_before_it_migrates() -> None:
    waiting = PortBinding(id="b", port_id="p", host="target", vif_type="ovs", generation=9)
    up, down = (BindingStatus(id="b", generation=9, is_realised=so) for so in (True, False))
    assert names(BINDING_STATUS, None, up, a_port(), waiting, up) == [("network-vif-plugged", "completed")]
    assert names(BINDING_STATUS, down, up, a_port(), waiting, up) == [("network-vif-plugged", "completed")]
    assert names(BINDING_STATUS, up, up, a_port(), waiting, up) == []
    assert names(BINDING_STATUS, None, down, a_port(), waiting) == []
    assert names(BINDING_STATUS, up, None, a_port(), waiting) == []
    assert names(BINDING_STATUS, None, up, a_port()) == []  # deleted meanwhile

    sub = Port(id="s", network_id="m", trunk_port="p", number=0x8001, waiting_numbers=(("two", 0x8002),))
    subs = PortBinding(id="bs", port_id="s", host=waiting.host, generation=9)
    also = BindingStatus(id="bs", generation=9, is_realised=True)
    plugged = [("network-vif-plugged", "completed")]
    assert names(BINDING_STATUS, None, up, a_port(), waiting, up, sub, subs) == []
    assert names(BINDING_STATUS, None, also, a_port(), waiting, sub, subs, also) == []
    for last in (up, also):
        assert names(BINDING_STATUS, None, last, a_port(), waiting, up, sub, subs, also) == plugged
    down_sub = msgspec.structs.replace(sub, admin_state_up=False)
    assert names(BINDING_STATUS, None, up, a_port(), waiting, up, down_sub, subs) == plugged

    assert names(BINDING_STATUS, None, up, a_port(device_owner="manila:share"), waiting) == []
    assert names(BINDING_STATUS, None, up, a_port(), waiting, request="activation, of the source") == []
