# SPDX-License-Identifier: Apache-2.0
"""Nova, over real HTTP on loopback, is told everything at least once and in order, whatever fails and restarts."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.metrics import NOTICES
from alcor.base.telemetry import Meters
from alcor.features.port.model import PORT, PORT_STATUS, Port, PortStatus
from alcor.features.port.rules import notices
from alcor.notify import ledger
from alcor.notify.nova import Nova
from alcor.notify.service import LEDGER_FILE, Notifier
from alcor.resource.declare import Notice, RestFeature
from alcor.store.declare import Change, Schema, Stored, Table
from alcor.store.log.sqlite import SqliteLog
from alcor.store.reader import Reader
from alcor.store.store import Outside, Store


class Thing(Stored, frozen=True):
    at: int = 0


THING: Table[Thing] = Table("thing", Thing)


def of_thing(reader: Reader, change: Change) -> Iterator[Notice]:
    yield Notice("server", "network-changed", change.id, str((change.new or change.old).at))


class FakeNova:
    """What it got, and the statuses with which it answers next; 0 hangs up."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[dict[str, str]] = []
        self.sizes: list[int] = []
        self.tokens: list[str | None] = []
        self.answers: list[int] = []
        self.always = 200
        self.logins = 0
        self.is_garbled = False  # the next answer of Keystone

    @property
    def tags(self) -> list[str]:
        return [event["tag"] for event in self.got]


@pytest.fixture
def nova() -> Iterator[FakeNova]:
    fake = FakeNova()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/v3/auth/tokens":
                fake.logins += 1
                endpoint = {"interface": "public", "region_id": "one", "url": f"{fake.url}/v2.1"}
                catalogue = [{"type": "compute", "endpoints": [endpoint]}]
                if fake.is_garbled:
                    fake.is_garbled = False
                    return self._answer(201, {"token": {"catalog": [1]}})
                return self._answer(201, {"token": {"catalog": catalogue}})
            status = fake.answers.pop(0) if fake.answers else fake.always
            fake.tokens.append(self.headers["X-Auth-Token"])
            if status in (200, 207):
                assert self.path == "/v2.1/os-server-external-events"
                fake.got += body["events"]
                fake.sizes.append(len(body["events"]))
            if status:
                self._answer(status, {"events": []})
            return None

        def _answer(self, status: int, value: Any) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("X-Subject-Token", f"token-{fake.logins}")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield fake
    server.shutdown()
    thread.join()
    server.server_close()


class Cloud:
    """A store, and a notifier that is started and stopped."""

    def __init__(self, store: Store, outside: Outside) -> None:
        self.store, self.outside, self.state = store, outside, outside.settings.state

    async def put(self, *ids: str) -> None:
        await self.store.submit(lambda txn: [txn.insert(THING, Thing(id=one)) for one in ids])

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


async def test_what_nova_never_takes_is_kept_in_a_bounded_list_and_holds_up_nothing(
    tmp_path: Path, nova: FakeNova
) -> None:
    nova.answers = [400]
    async with cloud(tmp_path, nova, notify_failed_max=2) as one, one.notifying():
        await begun(one)
        await one.put("a", "b", "c")
        await until(lambda: one.told().failed_count == 3)
        nova.answers, nova.always = [], 200
        await one.put("d")
        await until(lambda: one.told().delivered == 1)
        assert [failed.notice.tag for failed in one.told().failed] == ["b", "c"]
        assert "400" in one.told().failed[0].why
    assert nova.tags == ["d"]


async def test_what_is_not_taken_in_time_is_given_up(tmp_path: Path, nova: FakeNova) -> None:
    nova.answers = [503]
    async with cloud(tmp_path, nova, notify_retry_s=0) as one, one.notifying():
        await begun(one)
        await one.put("a")
        await until(lambda: one.told().failed_count == 1)


async def test_servers_that_nova_does_not_know_are_not_tried_again(tmp_path: Path, nova: FakeNova) -> None:
    nova.answers = [404, 207]
    async with cloud(tmp_path, nova) as one, one.notifying():
        await begun(one)
        await one.put("a")
        await until(lambda: one.told().delivered == 1)
        await one.put("b")
        await until(lambda: one.told().delivered == 2)
    assert nova.tags == ["b"]


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


def names(table: Table[Any], old: Any, new: Any, *now: Stored) -> list[tuple[str, str]]:
    state: Any = _State(*now)
    return [(each.name, each.status) for each in notices(state, Change(1, table.name, "p", old, new))]


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
