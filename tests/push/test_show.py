# SPDX-License-Identifier: Apache-2.0
"""What push answers to operators over the wire, and what becomes of hosts that answer nothing, or nonsense."""

import asyncio
import re
from pathlib import Path

import msgspec
import pytest

from alcor.base.address import Address
from alcor.base.config import Settings
from alcor.base.wire import held
from alcor.base.wire.alcor_pb2 import Envelope, Hello, Inspected
from alcor.base.wire.held import FlowDifference, FlowsHeld, Held, Listed, ScopeHeld, encoded
from alcor.base.wire.stream import Stream
from alcor.push import show
from alcor.push.ask import NotAnswered, ask
from alcor.push.show import Shown
from tests.push.conftest import Cloud
from tests.push.test_server import RACKS, ROOM_0, lamp

PAGE = Path(__file__).parents[2] / "docs/show.md"


async def asked(cloud: Cloud, what: str, name: str = "") -> Shown:
    shown = await ask(Settings(push=Address(cloud.push.address)), what, name)
    assert shown is not None
    return shown


async def open_by_hand(cloud: Cloud, host: str) -> Stream:
    """A stream whose agent says that it answers questions; what it answers is the test's."""
    stream = await cloud.dial()
    hello = Hello(host=host, tunnel_ip="10.0.0.1", inspects=True)
    await stream.write(Envelope(hello=hello).SerializeToString())
    await cloud.until(lambda: cloud.push.service.publisher.session(host) is not None)  # so it is known
    return stream


async def next_question(stream: Stream) -> int:
    """The number of the next Inspect."""
    while True:
        envelope = Envelope.FromString(await stream.read())
        if envelope.WhichOneof("kind") == "inspect":
            return envelope.inspect.id


async def tell(stream: Stream, id: int, json: bytes) -> None:
    await stream.write(Envelope(inspected=Inspected(id=id, json=json)).SerializeToString())


async def test_push_shows_hosts_scopes_and_rows(cloud: Cloud) -> None:
    await cloud.write([*RACKS, ROOM_0, lamp("l0", "r0"), lamp("l1", "r1")])
    agent = cloud.start_agent("r0")
    await cloud.until(lambda: cloud.is_settled(agent))

    hosts = await asked(cloud, "hosts")
    assert [(host.host, host.is_connected) for host in hosts.hosts] == [("r0", True), ("r1", False)]
    assert (hosts.hosts[0].acked, hosts.hosts[0].lag) == (hosts.revision, 0)
    assert hosts.hosts[0].rows == sum(len(rows) for rows in agent.rows.scopes.values())
    host = await asked(cloud, "host", "r0")
    assert {(scope.scope, row.key) for scope in host.scopes for row in scope.rows.first} == {
        (scope, key) for scope, rows in agent.rows.scopes.items() for key in rows
    }
    [scope] = (await asked(cloud, "scope", "beams:o0")).scopes
    assert scope.hosts == ["r0", "r1"]
    assert [(row.key, row.row["address"]) for row in scope.rows.first] == [
        ("l0", "10.0.0.0"),
        ("l1", "10.0.0.1"),
    ]
    row = await asked(cloud, "row", "l1")
    assert {shown.scope for shown in row.scopes} == {"beams:o0", "host:r1"}
    assert [(host.host, host.silence) for host in row.hosts] == [("r1", "it has no session")]
    for what, name in (("host", "nobody"), ("scope", "nothing"), ("row", "none"), ("weather", "")):
        assert await ask(Settings(push=Address(cloud.push.address)), what, name) is None


async def test_agent_that_knows_no_questions_is_not_asked(cloud: Cloud) -> None:
    agent = cloud.start_agent("r0")
    await cloud.until(lambda: cloud.is_settled(agent))
    [host] = (await asked(cloud, "host", "r0")).hosts
    assert host.silence == "its agent does not answer such questions"
    assert cloud.is_settled(agent), "its stream was not ended"


async def test_what_a_host_says_is_compared_with_what_it_is_wanted_to_have(cloud: Cloud) -> None:
    await cloud.write([*RACKS, ROOM_0, lamp("l0", "r0")])
    stream = await open_by_hand(cloud, "r0")
    asking = asyncio.create_task(asked(cloud, "host", "r0"))
    question = await next_question(stream)
    position = cloud.push.service.publisher.position
    compiler = cloud.push.service.publisher.goal.compiler
    good = f"{compiler.digest('room:o0'):032x}"
    scopes = [
        ScopeHeld(scope="room:o0", rows=1, digest=good),
        ScopeHeld(scope="beams:o0", rows=9, digest="00"),
        ScopeHeld(scope="racks:o0", rows=1, digest=""),
        ScopeHeld(scope="room:o9", rows=1, digest=good),
    ]
    told = Held(revision=position.revision, is_whole=True, scopes=Listed.of(scopes, 9))
    await tell(stream, question + 1, b"{}")  # to a question that nobody asked
    await cloud.until(lambda: cloud.push.service.publisher.session("r0").is_whole)
    await tell(stream, question, msgspec.json.encode(told))
    [host] = (await asking).hosts
    assert {each.scope: each.state for each in host.scope_states} == {
        "room:o0": "same",
        "beams:o0": "different",
        "racks:o0": "incomplete",
        "host:r0": "missing",
        "room:o9": "not needed",
    }
    await stream.close()


async def test_answer_that_cannot_be_read_or_is_too_long_is_said_to_be_so(cloud: Cloud) -> None:
    stream = await open_by_hand(cloud, "r0")
    for json, why in ((b"nonsense", "cannot be read"), (b" " * (held.BYTES_MAX + 1), "longer than")):
        asking = asyncio.create_task(asked(cloud, "host", "r0"))
        await tell(stream, await next_question(stream), json)
        [host] = (await asking).hosts
        assert host.held is None
        assert why in host.silence
    await stream.close()


async def test_host_whose_stream_ends_meanwhile_is_not_waited_for(cloud: Cloud) -> None:
    stream = await open_by_hand(cloud, "r0")
    asking = asyncio.create_task(asked(cloud, "host", "r0"))
    await next_question(stream)
    await stream.close()
    [host] = (await asking).hosts
    assert host.silence == "its session ended"


async def test_one_question_is_under_way_for_each_host(cloud: Cloud) -> None:
    stream = await open_by_hand(cloud, "r0")
    asking = [asyncio.create_task(asked(cloud, "host", "r0")) for _ in range(3)]
    seen = []
    for _ in asking:
        seen.append(await next_question(stream))
        await tell(stream, seen[-1], b"{}")
    assert seen == sorted(set(seen))
    assert [(await each).hosts[0].silence for each in asking] == [""] * 3
    await stream.close()


async def test_nobody_waits_for_a_host_for_ever(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alcor.push.inspect.WAIT_S", 0.05)
    stream = await open_by_hand(cloud, "r0")
    hosts = [
        (await each).hosts[0] for each in [asyncio.create_task(asked(cloud, "host", "r0")) for _ in "ab"]
    ]
    assert {host.silence for host in hosts} == {"it did not answer within 0.05 s"}
    number = await next_question(stream)
    await tell(stream, number, b"{}")  # too late, and no harm
    await cloud.until(lambda: cloud.push.service.publisher.session("r0") is not None)
    await stream.close()


async def test_rows_and_hosts_of_an_answer_are_bounded(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "ROWS_MAX", 2)
    monkeypatch.setattr(show, "HOSTS_MAX", 1)
    await cloud.write([*RACKS, ROOM_0, *(lamp(f"l{n}", f"r{n}") for n in range(3))])
    agents = [cloud.start_agent(f"r{n}") for n in range(3)]
    await cloud.until(lambda: all(map(cloud.is_settled, agents)))
    shown = await asked(cloud, "scope", "beams:o0")
    assert (shown.scopes[0].rows.count, len(shown.scopes[0].rows.first)) == (3, 2)
    assert [host.silence for host in shown.hosts][1:] == ["only 1 hosts are asked at once"] * 2


async def test_push_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotAnswered, match="UNAVAILABLE"):
        await ask(Settings(push=Address(f"unix:{tmp_path}/nobody")), "hosts")


def test_long_answers_are_cut_to_their_bound_and_still_count() -> None:
    long = FlowDifference(state="foreign", held="x" * 10_000)
    flows = FlowsHeld(wanted=0, held=500, foreign=500, difference=Listed.of([long] * 500, 1_000))
    json = encoded(Held(flows=flows))
    assert len(json) <= held.BYTES_MAX
    read = msgspec.json.decode(json, type=Held)
    assert read.flows is not None
    assert (read.flows.difference.count, len(read.flows.difference.first)) == (500, 100)


def test_every_field_of_an_answer_is_described() -> None:
    described = {
        name: re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE)
        for name, body in re.findall(r"^### `(\w+)`\n((?:.|\n)*?)(?=^###|\Z)", PAGE.read_text(), re.MULTILINE)
    }
    kinds = [kind for module in (held, show) for kind in vars(module).values() if is_struct(kind)]
    assert {kind.__name__: list(kind.__struct_fields__) for kind in kinds if kind is not Listed} == described


def is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
