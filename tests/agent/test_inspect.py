# SPDX-License-Identifier: Apache-2.0
"""What an agent says that it has: at rest, in the midst of changes, with refused flows, and without a switch."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from alcor.agent.emulator import Emulator
from alcor.agent.rows import HostRows
from alcor.agent.session import Backoff, HostIdentity, Refused, Session
from alcor.base.wire import alcor_pb2 as wire
from alcor.base.wire.held import Held
from alcor.base.wire.stream import Stream
from alcor.dataplane.values import Flow
from alcor.features.host import HOST
from alcor.testing.transport import MemoryStream, stream_pair
from tests.agent.test_main import Host
from tests.goal import toy


@asynccontextmanager
async def running(host: Host) -> AsyncIterator[Host]:
    """The host with its agent's loop, which has done what there was to do."""
    task = asyncio.create_task(host.agent.run())
    await host.agent.idle()
    yield host
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def whole() -> Host:
    host = Host()
    await host.up()
    host.agent.audit()
    return host


async def held(host: Host, what: str = "host", name: str = "") -> Held:
    return await host.agent.survey.held(what, name)


def inspect(number: int, sequence: int, what: str = "host") -> bytes:
    question = wire.Inspect(id=number, what=what)
    return wire.Envelope(inspect=question, sequence=sequence).SerializeToString()


async def test_host_at_rest_says_all_that_it_has() -> None:
    async with running(await whole()) as host:
        said = await held(host)
        assert (said.revision, said.is_whole, said.is_busy, said.keeps_inherited) == (1, True, False, False)
        assert {scope.scope for scope in said.scopes.first} == set(host.wanted.of_host("one"))
        assert {scope.scope: scope.digest for scope in said.scopes.first} == {
            scope: digest.hex() for scope, digest in host.agent.rows.digests()
        }
        assert [each.name for each in said.interfaces.first] == ["tap"]
        assert said.flows is not None
        assert said.flows.wanted == said.flows.held == len(host.switch.flows)
        assert said.flows.differing == 0


async def test_refused_flow_is_told_with_the_reason_and_not_as_missing() -> None:
    host = Host()
    host.switch.refuse_port = 10
    await host.up()
    host.agent.audit()
    async with running(host):
        said = await held(host)
        assert said.flows is not None
        assert (said.flows.refused, said.flows.missing) == (1, 0)
        [each] = said.flows.difference.first
        assert (each.reason, each.rows) == ("no room", (("host:one", host.nic.id),))
        row = (await held(host, "row", host.nic.id)).row
        assert row is not None
        assert row.report is not None
        assert (row.report.is_realised, row.report.reason) == (False, "no room")
        assert {flow.reason for flow in row.flows.first if flow.state == "refused"} == {"no room"}


async def test_what_changes_while_the_switch_is_read_is_no_difference() -> None:
    async with running(await whole()) as host:

        async def look() -> list[Flow]:
            old = list(host.switch.flows.values())
            host.plug(11)
            await host.agent.idle()
            return old

        host.agent.survey.look = look
        said = await held(host)
        assert said.is_busy
        assert said.flows is not None
        assert said.flows.differing == 0


async def test_host_whose_loop_is_at_work_says_so() -> None:
    host = await whole()
    said = await held(host)  # nobody runs the loop
    assert said.is_busy


async def test_row_that_waits_for_a_scope_says_for_which() -> None:
    host = await whole()
    async with running(host):
        host.agent.rows.complete.discard("neighbours:n")
        said = await held(host, "row", host.nic.id)
        assert said.row is not None
        assert said.row.waits_for == ("neighbours:n",)
        assert {place.scope for place in said.row.places} == {"host:one", "neighbours:n"}


async def test_row_that_nobody_sent_is_nowhere() -> None:
    async with running(await whole()) as host:
        said = await held(host, "row", "absent")
        assert said.row is not None
        assert (said.row.places, said.row.interface, said.row.flows.count) == ((), None, 0)


async def test_question_about_a_scope_leaves_the_switch_alone() -> None:
    host = await whole()
    host.agent.survey.look = never
    said = await held(host, "scope", "network:n")
    assert [(scope.scope, scope.rows) for scope in said.scopes.first] == [("network:n", 1)]
    assert (await held(host, "scope", "network:none")).scopes.count == 0


async def never() -> list[Flow]:
    raise AssertionError("the switch was read")


async def test_newer_question_takes_the_place_of_one_that_is_not_answered() -> None:
    async with running(await whole()) as host:
        session = host.agent.session
        session.outgoing()
        sequence = session.received
        session.receive(inspect(7, sequence + 1))
        session.receive(inspect(8, sequence + 2, "scope"))
        async with asyncio.timeout(10):
            while (message := session.outgoing()) is None:
                await asyncio.sleep(0.001)
        assert wire.Envelope.FromString(message).inspected.id == 8


async def test_answer_goes_out_behind_an_acknowledgement_and_not_on_another_stream() -> None:
    async with running(await whole()) as host:
        session = host.agent.session
        session.inspected(wire.Inspected(id=1, json=b"{}"))
        first, second = (wire.Envelope.FromString(session.outgoing() or b"").WhichOneof("kind") for _ in "ab")
        assert (first, second) == ("ack", "inspected")
        session.inspected(wire.Inspected(id=2, json=b"{}"))
        session.hello()
        assert wire.Envelope.FromString(session.outgoing() or b"").WhichOneof("kind") == "ack"
        assert session.outgoing() is None


def test_agent_that_answers_no_questions_says_so_and_refuses_them() -> None:
    session = Session(HostIdentity("h", "10.0.0.1"), HostRows(toy.KINDS))
    assert not wire.Envelope.FromString(session.hello()).hello.inspects
    with pytest.raises(Refused, match="of kind inspect"):
        session.receive(inspect(1, 1))


async def test_fault_in_an_answer_is_told_and_ends_nothing() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with running(await whole()) as host:
        host.agent.survey.look = never
        host.agent.session.receive(inspect(1, host.agent.session.received + 1))
        async with asyncio.timeout(10):
            while not told:
                await asyncio.sleep(0.001)
        assert "the switch was read" in str(told[0]["exception"])


async def test_emulated_host_says_that_it_has_no_switch() -> None:
    ends: list[MemoryStream] = []

    async def connect() -> Stream:
        mine, theirs = stream_pair()
        ends.append(theirs)
        return mine

    emulator = Emulator(HOST, connect, Backoff(1, 10, Random(1)))
    emulator.start(HostIdentity("e1", "10.100.0.1"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    [push] = ends
    assert wire.Envelope.FromString(await push.read()).hello.inspects
    await push.write(
        wire.Envelope(enter=wire.Enter(scope="host:e1", last=True), sequence=1).SerializeToString()
    )
    for number, what in enumerate(("host", "row", "scope"), start=2):
        await push.write(inspect(number, number, what))
        answer = wire.Envelope.FromString(await push.read()).inspected
        told = json.loads(answer.json)
        assert (answer.id, told["why_no_flows"]) == (number, "it is emulated and has no switch")
        assert told["scopes"]["count"] == (1 if what == "host" else 0)
        assert (told["row"] is None) == (what != "row")
    await emulator.close()
