# SPDX-License-Identifier: Apache-2.0
"""Push over real streams: who is let in, what they are sent, and what becomes of what they say."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from alcor.agent.dial import Keepalive, dial
from alcor.base.address import Address
from alcor.base.config import SettingError, Settings
from alcor.base.wire.alcor_pb2 import Ack, Envelope, Hello
from alcor.base.wire.stream import Stream, StreamClosed
from alcor.goal.declare import Report
from alcor.push.server import serve
from tests.goal.toy import LAMP, RACK, ROOM, Lamp, Rack, Room
from tests.push.conftest import Cloud, cloud_of, on_socket

RACKS = [(RACK, f"r{n}", Rack(id=f"r{n}", address=f"10.0.0.{n}")) for n in range(3)]
ROOM_0 = (ROOM, "o0", Room(id="o0", colour="red"))


async def read_to_end(stream: Stream) -> None:
    """Reads what comes until the stream is over."""
    while True:
        await stream.read()


def lamp(name: str, rack: str) -> tuple:
    return LAMP, name, Lamp(id=name, rack=rack, room="o0")


async def test_an_agent_receives_what_concerns_it_and_its_reports_are_heard(cloud: Cloud) -> None:
    agent = cloud.start_agent("r0")
    await cloud.write([*RACKS, ROOM_0])
    await cloud.write([lamp("l0", "r0")])
    await cloud.write([lamp("l1", "r1")])
    await cloud.until(lambda: cloud.is_settled(agent) and bool(cloud.heard.reports))
    assert agent.rows.complete == {"host:r0", "room:o0", "beams:o0", "racks:o0"}
    assert agent.rows.scopes["beams:o0"].keys() == {"l0", "l1"}
    assert ("r0", Report("l0", 1, True)) in cloud.heard.reports
    host, facts = cloud.heard.hellos[0]
    assert (host, facts.tunnel_ip, facts.version, facts.bridge) == ("r0", "10.0.0.1", "1", "br-int")


async def test_an_agent_follows_across_a_restart_of_push(tmp_path: Path) -> None:
    settings = on_socket(tmp_path)
    async with cloud_of(tmp_path, settings) as first:
        await first.write([*RACKS, ROOM_0, lamp("l0", "r0")])
        agent = first.start_agent("r0")
        await first.until(lambda: first.is_settled(agent))
        del first.agents["r0"]
    rows = agent.rows.scopes["room:o0"]
    async with cloud_of(tmp_path, settings) as second:
        second.agents["r0"] = agent
        await second.write([lamp("l2", "r0")])
        await second.until(lambda: second.is_settled(agent))
        assert agent.rows.scopes["room:o0"] is rows
        assert agent.rows.scopes["host:r0"].keys() == {"l0", "l2"}
        await second.until(lambda: {report.key for _, report in second.heard.reports} == {"l0", "l2"})


async def test_a_second_stream_of_a_host_ends_the_first(cloud: Cloud) -> None:
    first, second = await cloud.dial(), await cloud.dial()
    hello = Envelope(hello=Hello(host="r0", tunnel_ip="10.0.0.1")).SerializeToString()
    await first.write(hello)
    await first.read()
    await second.write(hello)
    await second.read()
    with pytest.raises(StreamClosed):
        await read_to_end(first)
    await second.close()
    await first.close()


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (Envelope(ack=Ack()), "begins with a hello"),
        (Envelope(hello=Hello(tunnel_ip="10.0.0.1")), "names no host"),
        (Envelope(hello=Hello(host="a\nb", tunnel_ip="10.0.0.1")), "names no host"),
        (Envelope(hello=Hello(host="r0", tunnel_ip="nowhere")), "tunnel address"),
    ],
)
async def test_a_stream_that_begins_wrongly_is_refused(cloud: Cloud, first: Envelope, why: str) -> None:
    stream = await cloud.dial()
    await stream.write(first.SerializeToString())
    with pytest.raises(StreamClosed, match=why):
        await stream.read()
    await stream.close()
    assert cloud.heard.hellos == []


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (b"\xff\xff", "cannot be read"),
        (Envelope(hello=Hello(host="r1")).SerializeToString(), "now calls itself r1"),
        (Envelope(hello=Hello(host="r0")).SerializeToString(), "not asked for"),
        (Envelope().SerializeToString(), "sends no"),
    ],
)
async def test_a_stream_that_goes_on_wrongly_is_ended(cloud: Cloud, second: bytes, why: str) -> None:
    stream = await cloud.dial()
    await stream.write(Envelope(hello=Hello(host="r0", tunnel_ip="10.0.0.1")).SerializeToString())
    await stream.write(second)
    with pytest.raises(StreamClosed, match=why):
        await read_to_end(stream)
    await stream.close()


async def test_a_host_whose_stream_ended_is_called_gone_after_the_grace_and_back_with_its_next(
    cloud: Cloud,
) -> None:
    agents = [cloud.start_agent(f"r{n}") for n in range(3)]
    await cloud.until(lambda: all(cloud.is_settled(agent) for agent in agents))
    await cloud.stop_agent("r1")
    await cloud.until(lambda: cloud.heard.liveness == [("r1", False)])
    cloud.start_agent("r1")
    await cloud.until(lambda: [host for host, _ in cloud.heard.hellos].count("r1") == 2)
    assert cloud.heard.liveness == [("r1", False)]


async def test_an_older_copy_of_the_log_put_under_a_running_push_reaches_the_hosts(
    cloud: Cloud, tmp_path: Path
) -> None:
    await cloud.write([*RACKS, ROOM_0, lamp("l0", "r0")])
    agent = cloud.start_agent("r0")
    await cloud.until(lambda: cloud.is_settled(agent))
    copy_of_log(tmp_path / "log", tmp_path / "older")
    await cloud.write([lamp("l0", "r1"), lamp("l9", "r0")])
    await cloud.until(lambda: cloud.is_settled(agent) and "l9" in agent.rows.scopes["host:r0"])

    (tmp_path / "older").replace(tmp_path / "log")
    await cloud.until(lambda: cloud.is_settled(agent) and agent.rows.scopes["host:r0"].keys() == {"l0"})
    await cloud.write([lamp("l5", "r0")])
    await cloud.until(lambda: cloud.is_settled(agent) and agent.rows.scopes["host:r0"].keys() == {"l0", "l5"})


def copy_of_log(log: Path, copy: Path) -> None:
    """A copy as a backup tool makes it."""
    with closing(sqlite3.connect(log)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)


async def test_a_thousand_hosts_that_come_at_once_are_all_served(cloud: Cloud) -> None:
    await cloud.write([(RACK, f"h{n}", Rack(id=f"h{n}", address="10.0.0.1")) for n in range(1000)])
    await cloud.write(
        [(LAMP, f"l{n}", Lamp(id=f"l{n}", rack=f"h{n}", room=f"o{n % 50}")) for n in range(1000)]
    )
    agents = [cloud.start_agent(f"h{n}") for n in range(1000)]
    await cloud.until(lambda: all(cloud.is_settled(agent) for agent in agents))
    await cloud.until(lambda: len({host for host, _ in cloud.heard.hellos}) == 1000)


async def test_push_listens_to_other_machines_only_with_certificates(tmp_path: Path) -> None:
    async with cloud_of(tmp_path, on_socket(tmp_path)) as cloud:
        with pytest.raises(SettingError, match="alcor pki"):
            await serve(cloud.store, (), Settings(push_listen=Address("0.0.0.0:0")))
        with pytest.raises(SettingError, match="all three"):
            await serve(cloud.store, (), Settings(push_tls_key=tmp_path / "log"))
        none = tmp_path / "none"
        with pytest.raises(SettingError, match="cannot be read"):
            await serve(cloud.store, (), Settings(push_tls_key=none, push_tls_cert=none, push_tls_ca=none))


async def test_an_agent_that_finds_nobody_is_told_so(tmp_path: Path) -> None:
    stream = await dial(Address(f"unix:{tmp_path}/nobody"), None, Keepalive())
    with pytest.raises(StreamClosed, match="UNAVAILABLE"):
        await stream.read()
    await stream.close()
