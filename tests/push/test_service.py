# SPDX-License-Identifier: Apache-2.0
"""Push beside a log that fails and is replaced, over streams in memory."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random

import pytest

from alcor.base.clock import SystemClock
from alcor.base.metrics import HOST_SNAPSHOTS, HOSTS_CONNECTED, REPORTS, ROWS_DERIVED
from alcor.base.telemetry import Meters
from alcor.base.wire import alcor_pb2 as wire
from alcor.goal.declare import GoalFeature, Life, Observer, Report
from alcor.push.service import Service, Unwelcome
from alcor.store.store import Outside, Store
from alcor.testing.memory_log import Disk, MemoryLog
from alcor.testing.transport import MemoryStream, stream_pair
from tests.goal import toy
from tests.goal.toy import LAMP, RACK, Lamp, Rack
from tests.push.conftest import PROMPT, Cloud, Heard


@dataclass
class Plant:
    """Push on a disk in memory."""

    disk: Disk
    store: Store
    service: Service
    heard: Heard
    meters: Meters

    async def greet(self, host: str, position: wire.Position | None = None) -> MemoryStream:
        """A stream of a host that has said hello."""
        stream = await self.open()
        hello = wire.Hello(host=host, tunnel_ip="10.0.0.1", position=position)
        await stream.write(wire.Envelope(hello=hello).SerializeToString())
        return stream

    async def open(self) -> MemoryStream:
        """A stream on which nothing was said."""
        here, there = stream_pair()
        self.attending = asyncio.create_task(self.service.attend(there, None))
        return here

    async def until(self, is_so) -> None:
        await Cloud.until(self, is_so)  # type: ignore[arg-type]


LIVING = GoalFeature(name="living", observers=(Observer(living=lambda reader: [Life("r7", True, "", "")]),))


@pytest.fixture
async def plant() -> AsyncIterator[Plant]:
    disk, heard, meters = Disk(), Heard(), Meters()
    outside = Outside(SystemClock(), Random(1), PROMPT, meters)
    store = await Store.open(toy.SCHEMA, MemoryLog(disk), outside)
    service = Service(store, (*toy.GOAL, heard.feature(), LIVING), outside)
    service.start()
    await service.loaded()
    yield Plant(disk, store, service, heard, meters)
    await service.close()
    await store.close()


def report(key: str) -> bytes:
    ack = wire.Ack(reports=[wire.Report(key=key, generation=1, realised=True)])
    return wire.Envelope(ack=ack).SerializeToString()


async def test_two_agents_of_one_name_do_not_push_each_other_away_again_and_again(plant: Plant) -> None:
    streams, sessions = [], set()
    for count in (1, 2):
        streams.append(await plant.greet("r0"))
        await plant.until(
            lambda count=count: (
                sessions.add(plant.service.publisher.session("r0")) or len(sessions - {None}) == count
            )
        )
    streams.append(await plant.greet("r0"))
    with pytest.raises(Unwelcome, match="another agent has just come as r0; let each have a name of its own"):
        await plant.attending
    assert plant.service.publisher.session("r0") in sessions, "the second stays"
    for stream in streams:
        await stream.close()


async def received(stream: MemoryStream) -> wire.Envelope:
    return wire.Envelope.FromString(await stream.read())


async def test_what_hosts_say_waits_for_a_log_that_is_out_of_reach(plant: Plant, monkeypatch) -> None:
    monkeypatch.setattr("alcor.push.service._RETRY_S", 0.01)
    stream = await plant.greet("r0")
    await plant.until(lambda: len(plant.heard.hellos) == 1)
    plant.disk.fault = "the disk is away"
    await stream.write(report("l0"))
    await stream.write(report("l1"))
    await asyncio.sleep(0.1)
    assert plant.heard.reports == []
    plant.disk.fault = ""
    await plant.until(lambda: {said.key for _, said in plant.heard.reports} == {"l0", "l1"})
    assert plant.heard.reports.count(("r0", Report("l0", 1, is_realised=True))) >= 1
    await stream.close()


async def test_a_host_that_is_held_to_be_alive_and_does_not_come_is_called_gone(plant: Plant) -> None:
    await plant.until(lambda: plant.heard.liveness == [("r7", False)])


async def test_a_stream_on_which_no_hello_comes_is_refused(plant: Plant, monkeypatch) -> None:
    monkeypatch.setattr("alcor.push.service._HELLO_WAIT_S", 0.01)
    await plant.open()
    with pytest.raises(Unwelcome, match="no hello came"):
        await plant.attending


@pytest.mark.parametrize(
    ("hello", "why"),
    [
        (wire.Hello(host="", tunnel_ip="10.0.0.1"), "names no host"),
        (wire.Hello(host="r\0", tunnel_ip="10.0.0.1"), "names no host"),
        (wire.Hello(host="r0", tunnel_ip="here"), "the tunnel address is none"),
        (wire.Hello(host="r0", tunnel_ip="fd00::1"), "tunnels lead over IPv4, and fd00::1 is not"),
        (
            wire.Hello(host="r0", tunnel_ip="10.0.0.1", version="1" * 256),
            "more of the host than anybody wants",
        ),
        (
            wire.Hello(host="r0", tunnel_ip="10.0.0.1", bridge_mappings=[wire.BridgeMapping()] * 500),
            "more of the host than anybody wants",
        ),
    ],
)
async def test_a_hello_that_cannot_be_is_refused_with_the_reason(
    plant: Plant, hello: wire.Hello, why: str
) -> None:
    stream = await plant.open()
    await stream.write(wire.Envelope(hello=hello).SerializeToString())
    with pytest.raises(Unwelcome, match=why):
        await plant.attending
    assert plant.service.publisher.sessions() == []


async def test_a_stream_that_ends_before_the_hello_is_no_fault(plant: Plant) -> None:
    stream = await plant.open()
    await stream.close()
    await plant.attending
    assert plant.service.publisher.sessions() == []


async def test_a_host_from_a_future_that_was_lost_is_asked_what_it_has(plant: Plant) -> None:
    stream = await plant.greet("r0", wire.Position(revision=1_000_000, turn=b"x" * 16))
    assert (await received(stream)).WhichOneof("kind") == "ask"
    hello = wire.Hello(host="r0", tunnel_ip="10.0.0.1", compared=True)
    hello.position.CopyFrom(wire.Position(revision=1_000_000, turn=b"x" * 16))
    hello.digests.add(scope="room:gone", digest=b"y" * 16)
    await stream.write(wire.Envelope(hello=hello).SerializeToString())
    moved, left, entered = [await received(stream) for _ in range(3)]
    assert moved.delta.after.revision == 1_000_000
    assert moved.delta.to.revision == plant.store.tables.revision
    assert left.leave.scope == "room:gone"
    assert entered.enter.scope == "host:r0"
    assert (await received(stream)).delta.whole
    await stream.close()


async def test_a_log_replaced_while_it_is_being_derived_is_derived_anew(plant: Plant, monkeypatch) -> None:
    monkeypatch.setattr("alcor.goal.compiler._SLICE_OBJECTS", 1)
    racks = [Rack(id=f"r{n}", address="10.0.0.1") for n in range(20)]
    await plant.store.submit(lambda txn: [txn.insert(RACK, rack) for rack in racks])
    lamps = [Lamp(id=f"l{n:02}", rack=f"r{n}", room="o0") for n in range(20)]
    await plant.store.submit(lambda txn: [txn.insert(LAMP, lamp) for lamp in lamps])
    first = plant.service.publisher
    plant.service.on_reset(plant.store.tables.position)
    for _ in range(5):
        await asyncio.sleep(0)
    plant.service.on_reset(plant.store.tables.position)
    await plant.service.loaded()
    assert plant.service.publisher is not first
    assert plant.service.publisher.goal.compiler.rows("beams:o0").keys() == {lamp.id for lamp in lamps}


async def test_a_host_that_reads_nothing_does_not_keep_its_stream_from_ending(
    plant: Plant, monkeypatch
) -> None:
    monkeypatch.setattr("alcor.push.service._LAST_WRITE_S", 0.01)
    await plant.store.submit(lambda txn: txn.insert(RACK, Rack(id="r0", address="10.0.0.1")))
    lamps = [Lamp(id=f"l{n:04}", rack="r0", room="o0") for n in range(3000)]
    await plant.store.submit(lambda txn: [txn.insert(LAMP, lamp) for lamp in lamps])
    stream = await plant.greet("r0")
    await plant.until(lambda: plant.service.publisher.session("r0") is not None)
    await asyncio.sleep(0.05)
    await stream.write(b"\xff\xff")
    with pytest.raises(Unwelcome, match="cannot be read"):
        await plant.attending
    assert plant.service.publisher.session("r0") is None


async def test_figures_tell_of_hosts_snapshots_and_reports(plant: Plant) -> None:
    await plant.store.submit(lambda txn: txn.insert(RACK, Rack(id="r0", address="10.0.0.1")))
    await plant.store.submit(lambda txn: txn.insert(LAMP, Lamp(id="l0", rack="r0", room="o0")))
    stream = await plant.greet("r0")
    await stream.write(report("l0"))
    value = plant.meters.value
    await plant.until(lambda: value(HOSTS_CONNECTED) == 1 and value(HOST_SNAPSHOTS, "missing") == 4)
    assert value(REPORTS, "realised") == 1
    assert value(ROWS_DERIVED) == 1
    await stream.close()


async def test_push_that_was_closed_has_stopped(plant: Plant) -> None:
    stopped = asyncio.create_task(plant.service.stopped())
    stream = await plant.greet("r0")
    await received(stream)
    await plant.service.close()
    await stopped
    await plant.attending
