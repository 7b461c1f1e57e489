# SPDX-License-Identifier: Apache-2.0
"""The agent's connection to its switch: what it does whatever the switch does."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from alcor.agent.switch import Bounds, Switch, SwitchGone, SwitchRefused
from alcor.dataplane.openflow.messages import Kind, message
from alcor.dataplane.openflow.replies import PacketIn
from alcor.dataplane.values import Controller, Ct, Flow, Output, Resubmit, SetField, match
from tests.agent.peer import Peer, error, part, peer
from tests.dataplane import frames
from tests.dataplane.bridge import Bridge, drain

HASTY = Bounds(connect_s=0.3, answer_s=0.3, dump_s=0.3, echo_s=0.05, bundle_max=4, packets_max=2)
PATIENT = Bounds(bundle_max=4)
FLOWS = [Flow(0, number, match(reg0=number), (Output(1),)) for number in range(10)]
LATE = 5.0


@pytest_asyncio.fixture
async def ovs(tmp_path: Path) -> AsyncIterator[Peer]:
    """A switch that does as it is told."""
    async with peer(tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def switch(ovs: Peer) -> AsyncIterator[Switch]:
    """The agent's connection to it."""
    made = await Switch.connect(ovs.path, bounds=PATIENT)
    yield made
    await made.close()


def refusing(*refused: Flow, when: str = "add") -> Callable[[Flow], tuple[str, int, int] | None]:
    """Refuses these flows as having no met prerequisite."""
    return lambda flow: (when, 4, 9) if flow.identity in {each.identity for each in refused} else None


async def closed(switch: Switch) -> str:
    """Why the connection ended, which it does soon."""
    await asyncio.wait_for(switch.closed.wait(), LATE)
    return switch.why_closed


async def until(is_so: Callable[[], bool]) -> None:
    """Returns when it is so, which it is soon."""
    async with asyncio.timeout(LATE):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_a_connection_asks_for_packets_before_anything_else(ovs: Peer, switch: Switch) -> None:
    assert ovs.kinds() == [Kind.HELLO, Kind.SET_CONFIG, Kind.EXPERIMENTER, Kind.BARRIER_REQUEST]
    await switch.barrier()
    assert ovs.kinds()[4:] == [Kind.BARRIER_REQUEST]


async def test_changes_go_in_bundles_of_a_bounded_size_adds_first(ovs: Peer, switch: Switch) -> None:
    assert await switch.apply(FLOWS[:6], FLOWS[6:]) == []
    sizes = [len(bundle) for bundle in ovs.installed]
    assert sizes == [4, 4, 2]
    sent = [flow for bundle in ovs.installed for flow in bundle]
    assert sent == FLOWS[:6] + [Flow(flow.table, flow.priority, flow.match, ()) for flow in FLOWS[6:]]


async def test_nothing_is_sent_for_no_change(ovs: Peer, switch: Switch) -> None:
    before = len(ovs.got)
    assert await switch.apply([], []) == []
    await switch.barrier()
    assert len(ovs.got) == before + 1


async def test_a_delete_of_what_is_also_added_is_left_out(ovs: Peer, switch: Switch) -> None:
    old = Flow(0, 1, match(reg0=1), (), cookie=5)
    assert await switch.apply([FLOWS[1]], [old, FLOWS[2]]) == []
    assert [flow.identity for flow in ovs.installed[0]] == [FLOWS[1].identity, FLOWS[2].identity]


@pytest.mark.parametrize("when", ["add", "commit", "nameless"])
async def test_a_refused_flow_is_named_and_all_others_get_in(ovs: Peer, switch: Switch, when: str) -> None:
    bad = [FLOWS[1], FLOWS[2], FLOWS[9]]
    ovs.refuse = refusing(*bad, when=when)
    failures = await switch.apply(FLOWS)
    assert [failure.flow for failure in failures] == bad
    assert all("OFPBMC_BAD_PREREQ" in failure.reason for failure in failures)
    assert [flow for bundle in ovs.installed for flow in bundle] == [
        flow for flow in FLOWS if flow not in bad
    ]


@pytest.mark.parametrize("when", ["commit", "nameless"])
async def test_a_bundle_of_refused_flows_alone_comes_to_an_end(ovs: Peer, when: str) -> None:
    many = [Flow(1, number, (), ()) for number in range(50)]
    switch = await Switch.connect(ovs.path)
    ovs.refuse = refusing(*many, when=when)
    failures = await switch.apply(many)
    assert sorted(failure.flow.priority for failure in failures) == list(range(50))
    assert [flow for bundle in ovs.installed for flow in bundle] == []
    await switch.close()


async def test_a_flow_that_cannot_be_said_is_a_failure_like_others(ovs: Peer, switch: Switch) -> None:
    unfit = Flow(0, 1, (), (SetField("reg0", 1 << 40),))
    (failure,) = await switch.apply([FLOWS[0], unfit, FLOWS[2]])
    assert failure.flow == unfit
    assert "does not fit 32 bits" in failure.reason
    assert ovs.installed == [[FLOWS[0], FLOWS[2]]]


async def test_a_bundle_that_cannot_be_opened_is_a_refusal(ovs: Peer, switch: Switch) -> None:
    ovs.answers[Kind.BUNDLE_CONTROL] = lambda xid, _body: error(xid, 17, 5)
    with pytest.raises(SwitchRefused, match="too many bundles"):
        await switch.apply(FLOWS[:1])
    assert not switch.closed.is_set()


async def test_flows_come_in_several_parts(ovs: Peer, switch: Switch) -> None:
    parts = [b"", b"", b""]
    stats = struct.pack(">HB9xHHHHHxxQQQ", 56, 3, 7, 0, 0, 0, 0, 9, 5, 500) + bytes.fromhex(
        "0001000400000000"
    )
    ovs.answers[Kind.MULTIPART_REQUEST] = lambda xid, _body: b"".join(
        part(xid, stats, is_last=number == 2) for number, _ in enumerate(parts)
    )
    assert await switch.dump() == [Flow(3, 7, (), (), 9)] * 3
    (first, *_) = await switch.dump_counted()
    assert (first.packets, first.bytes) == (5, 500)


async def test_a_dump_can_be_of_one_cookie(ovs: Peer, switch: Switch) -> None:
    assert await switch.dump(0x1200, 0xFF00) == []
    assert ovs.got[-1][2][-24:-8] == struct.pack(">QQ", 0x1200, 0xFF00)


async def test_a_refused_question_says_why(ovs: Peer, switch: Switch) -> None:
    ovs.answers[Kind.MULTIPART_REQUEST] = lambda xid, _body: error(xid, 1, 2)
    with pytest.raises(SwitchRefused, match="does not know this multipart request"):
        await switch.dump()
    ovs.answers[Kind.EXPERIMENTER] = lambda xid, _body: error(xid, 1, 3)
    with pytest.raises(SwitchRefused, match="no Open vSwitch"):
        await switch.flush_ct_zone(5)
    await switch.barrier()


async def test_a_refusal_that_nobody_waits_for_is_logged(
    ovs: Peer, switch: Switch, capsys: pytest.CaptureFixture[str]
) -> None:
    ovs.answers[Kind.PACKET_OUT] = lambda xid, _body: error(xid, 1, 12)
    await switch.packet_out(b"x", (Output(1),))
    await switch.barrier()
    assert "the packet is malformed" in capsys.readouterr().err


async def test_what_the_switch_tells_unasked_is_ignored(ovs: Peer, switch: Switch) -> None:
    ovs.writers[0].write(message(Kind.PORT_STATUS, 0, bytes(72)) + part(77) + message(Kind.BARRIER_REPLY, 99))
    ovs.writers[0].write(message(Kind.EXPERIMENTER, 0, bytes(8)))
    await switch.barrier()
    assert not switch.closed.is_set()


def packet_in(content: bytes) -> bytes:
    """An NXT_PACKET_IN2 message."""
    properties = b""
    fields = bytes.fromhex("80000004 00000003 00010204 00000009 80004c08 0000000000001389")
    for kind, value in (
        (0, content),
        (3, b"\5"),
        (4, bytes(7) + b"\6"),
        (5, b"\1"),
        (6, fields),
        (7, b"user"),
    ):
        length = 4 + len(value)
        properties += struct.pack(">HH", kind, length) + value + bytes(-length % 8)
    return message(Kind.EXPERIMENTER, 0, struct.pack(">II", 0x2320, 30) + properties)


async def test_packets_come_one_after_another_and_too_many_are_dropped_and_counted(ovs: Peer) -> None:
    got: list[PacketIn] = []
    hold = asyncio.Event()

    async def deal_with(packet: PacketIn) -> None:
        got.append(packet)
        await hold.wait()

    switch = await Switch.connect(ovs.path, deal_with, HASTY)
    for number in range(5):
        ovs.writers[0].write(packet_in(bytes((number,))))
    await switch.barrier()
    hold.set()
    await until(lambda: len(got) + switch.packets_dropped == 5)
    assert switch.packets_dropped >= 2
    assert [packet.packet for packet in got] == [bytes((number,)) for number in range(len(got))]
    first = got[0]
    assert (first.userdata, first.table, first.cookie) == (b"user", 5, 6)
    assert [first.value(name) for name in ("in_port", "reg1", "tun_id", "reg9")] == [3, 9, 5001, 0]
    await switch.close()


async def test_a_packet_that_cannot_be_dealt_with_ends_the_connection(ovs: Peer) -> None:
    async def deal_with(packet: PacketIn) -> None:
        raise LookupError("no such packet")

    switch = await Switch.connect(ovs.path, deal_with)
    ovs.writers[0].write(packet_in(b"x"))
    assert "no such packet" in await closed(switch)


async def test_a_connection_may_be_closed_by_who_deals_with_packets(ovs: Peer) -> None:
    async def deal_with(packet: PacketIn) -> None:
        await switch.close()

    switch = await Switch.connect(ovs.path, deal_with)
    ovs.writers[0].write(packet_in(b"x"))
    assert "closed by the agent" in await closed(switch)


async def test_echoes_are_answered_and_asked_for(ovs: Peer) -> None:
    switch = await Switch.connect(ovs.path, bounds=HASTY)
    ovs.writers[0].write(message(Kind.ECHO_REQUEST, 1234, b"are you there"))
    await until(lambda: (Kind.ECHO_REPLY, 1234, b"are you there") in ovs.got)
    await until(lambda: Kind.ECHO_REQUEST in ovs.kinds())
    assert not switch.closed.is_set()
    await switch.close()


async def test_a_switch_that_answers_no_echo_is_gone(ovs: Peer) -> None:
    ovs.answers[Kind.ECHO_REQUEST] = lambda _xid, _body: b""
    switch = await Switch.connect(ovs.path, bounds=HASTY)
    assert "did not answer within 0.3 s" in await closed(switch)


@pytest.mark.parametrize(
    "ask",
    [
        lambda switch: switch.barrier(),
        lambda switch: switch.dump(),
        lambda switch: switch.apply(FLOWS),
        lambda switch: switch.flush_ct_zone(1),
    ],
    ids=["barrier", "dump", "apply", "flush"],
)
async def test_a_switch_that_does_not_answer_is_gone_for_everybody(
    ovs: Peer, ask: Callable[[Switch], Awaitable[object]]
) -> None:
    bounds = Bounds(answer_s=0.2, dump_s=0.2)
    switch = await Switch.connect(ovs.path, bounds=bounds)
    for kind in (Kind.BARRIER_REQUEST, Kind.MULTIPART_REQUEST, Kind.BUNDLE_CONTROL):
        ovs.answers[kind] = lambda _xid, _body: b""
    with pytest.raises(SwitchGone, match="did not answer"):
        await ask(switch)
    assert switch.closed.is_set()
    with pytest.raises(SwitchGone, match="did not answer"):
        await ask(switch)
    with pytest.raises(SwitchGone):
        await switch.packet_out(b"x", (Output(1),))
    await switch.close()


async def test_whoever_waits_learns_that_the_switch_went(ovs: Peer, switch: Switch) -> None:
    ovs.answers[Kind.BARRIER_REQUEST] = lambda _xid, _body: b""
    waiting = [asyncio.create_task(switch.barrier()) for _ in range(3)]
    await asyncio.sleep(0.01)
    ovs.writers[0].close()
    assert "closed the connection" in await closed(switch)
    for each in waiting:
        with pytest.raises(SwitchGone, match="closed the connection"):
            await each


async def test_a_cancelled_question_leaves_the_connection_in_use(ovs: Peer, switch: Switch) -> None:
    ovs.answers[Kind.MULTIPART_REQUEST] = lambda _xid, _body: b""
    question = asyncio.create_task(switch.dump())
    await asyncio.sleep(0.01)
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question
    await switch.barrier()


@pytest.mark.parametrize(
    "garbage",
    [b"\xff" * 64, b"\x05\x15\x00\x04\x00\x00\x00\x01", b"GET / HTTP/1.1\r\n\r\n", bytes(64)],
    ids=["ones", "short", "http", "zeros"],
)
async def test_garbage_ends_the_connection_with_a_sentence(ovs: Peer, switch: Switch, garbage: bytes) -> None:
    ovs.writers[0].write(garbage)
    assert "does not speak OpenFlow as we know it" in await closed(switch)


async def test_malformed_flows_end_the_connection_with_a_sentence(ovs: Peer, switch: Switch) -> None:
    ovs.answers[Kind.MULTIPART_REQUEST] = lambda xid, _body: part(xid, bytes(48))
    with pytest.raises(SwitchGone, match="a flow at byte 8 is cut off"):
        await switch.dump()


async def test_a_switch_that_is_not_there_says_so(tmp_path: Path) -> None:
    for where in (str(tmp_path / "nobody.mgmt"), f"unix:{tmp_path}/nobody.mgmt", "tcp:127.0.0.1:1"):
        with pytest.raises(SwitchGone, match="cannot be reached"):
            await Switch.connect(where)


async def test_a_switch_of_another_version_says_so(ovs: Peer) -> None:
    ovs.answers[Kind.HELLO] = lambda xid, _body: b"\x06\x01\x00\x0c" + struct.pack(">I", xid) + bytes(4)
    with pytest.raises(SwitchRefused, match=r"does not speak OpenFlow 1\.4"):
        await Switch.connect(ovs.path)


async def test_a_switch_that_greets_nobody_is_gone(ovs: Peer) -> None:
    ovs.answers[Kind.BARRIER_REQUEST] = lambda _xid, _body: b""
    with pytest.raises(SwitchGone, match=r"did not answer within 0\.3 s"):
        await Switch.connect(ovs.path, bounds=HASTY)


async def test_a_switch_can_be_reached_by_tcp(tmp_path: Path) -> None:
    made = Peer("")
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    switch = await Switch.connect(f"tcp:127.0.0.1:{port}")
    await switch.barrier()
    await switch.close()
    server.close()
    await server.wait_closed()


@pytest.fixture(scope="module")
def bridge() -> Iterator[Bridge]:
    """A real switch with ports 1 to 3."""
    made = Bridge()
    yield made
    made.stop()


@pytest.mark.ovs
async def test_real_flows_are_changed_in_bundles_and_read_back(bridge: Bridge) -> None:
    switch = await Switch.connect(f"unix:{bridge.socket}")
    flows = [Flow(1, 5, match(reg0=number), (Output(1),), cookie=number << 8) for number in range(2_500)]
    assert await switch.apply(flows, await switch.dump()) == []
    assert sorted(await switch.dump(), key=lambda flow: flow.cookie) == flows
    assert await switch.dump(7 << 8, 0xFFFFFF00) == [flows[7]]
    replaced = [Flow(1, 5, flow.match, (Output(2),), flow.cookie) for flow in flows[:10]]
    assert await switch.apply(replaced, flows[10:]) == []
    assert sorted(await switch.dump(), key=lambda flow: flow.cookie) == replaced
    await switch.close()


@pytest.mark.ovs
@pytest.mark.parametrize(
    "bad",
    [
        Flow(1, 1, match(tcp_dst=80), ()),  # refused when it is put into the bundle
        Flow(1, 1, match(eth_type=0x800), (SetField("tcp_dst", 1),)),
        Flow(255, 1, (), ()),
        Flow(1, 1, match(tun_metadata0=1), ()),
    ],
)
async def test_a_flow_that_a_real_switch_refuses_is_named_and_all_others_get_in(
    bridge: Bridge, bad: Flow
) -> None:
    switch = await Switch.connect(bridge.socket)
    await switch.apply([], await switch.dump())
    (failure,) = await switch.apply([*FLOWS[:5], bad, *FLOWS[5:]])
    assert failure.flow == bad
    assert "refuses it" in failure.reason
    assert sorted(await switch.dump(), key=lambda flow: flow.priority) == FLOWS
    await switch.close()


@pytest.mark.ovs
async def test_a_bundle_that_a_real_switch_cannot_do_to_its_end_is_done_but_for_what_does_not_fit(
    bridge: Bridge,
) -> None:
    bridge.vsctl(
        "--id=@full",
        "create",
        "Flow_Table",
        "flow_limit=5",
        "--",
        "set",
        "bridge",
        "br-int",
        "flow_tables:9=@full",
    )
    switch = await Switch.connect(bridge.socket)
    await switch.apply([], await switch.dump())
    tight = [Flow(9, number, (), ()) for number in range(40)]
    failures = await switch.apply([*tight, *FLOWS])
    assert len(failures) == 35
    assert all("the table is full" in failure.reason for failure in failures)
    there = set(await switch.dump())
    assert there == {*tight, *FLOWS} - {failure.flow for failure in failures}
    await switch.close()
    bridge.vsctl("clear", "bridge", "br-int", "flow_tables")


@pytest.mark.ovs
async def test_a_real_switch_gives_packets_with_what_the_pipeline_knew_and_takes_them_back(
    bridge: Bridge,
) -> None:
    got: asyncio.Queue[PacketIn] = asyncio.Queue()
    switch = await Switch.connect(bridge.socket, got.put)
    ask = Flow(
        3,
        1,
        match(in_port=1),
        (SetField("reg4", 7), SetField("tun_id", 5001), Controller(b"\1\2\3")),
        cookie=99,
    )
    assert await switch.apply([ask, Flow(0, 1, match(in_port=1), (Resubmit(3),))], await switch.dump()) == []
    frame = frames.udp(frames.Path("10.0.0.1", "10.0.0.2"), (1, 2))
    bridge.sockets[1].send(frame)
    packet = await asyncio.wait_for(got.get(), LATE)
    assert (packet.packet, packet.userdata, packet.table, packet.cookie) == (frame, b"\1\2\3", 3, 99)
    assert [packet.value(name) for name in ("in_port", "reg4", "tun_id")] == [1, 7, 5001]

    drain(bridge.sockets[2])
    await switch.packet_out(packet.packet, (SetField("reg4", 8), Resubmit(4)), in_port=1)
    assert await switch.apply([Flow(4, 1, match(reg4=8, in_port=1), (Output(2),))]) == []
    await switch.packet_out(packet.packet, (SetField("reg4", 8), Resubmit(4)), in_port=1)
    await switch.barrier()
    await until(lambda: drain(bridge.sockets[2]) == [frame])
    await switch.close()


@pytest.mark.ovs
async def test_a_real_switch_tells_of_no_more_packets_than_it_may_and_forwards_them_all_the_same(
    bridge: Bridge,
) -> None:
    frame, told = frames.udp(frames.Path("10.0.0.1", "10.0.0.2"), (1, 2)), list[PacketIn]()

    async def tell(packet: PacketIn) -> None:
        told.append(packet)

    for _ in range(2):  # a new connection, and one that finds the bound there
        switch = await Switch.connect(bridge.socket, tell, Bounds(packets_s_max=1))
        ask = Flow(0, 1, match(in_port=1), (Controller(b"\1"), Output(2)))
        assert await switch.apply([ask], await switch.dump()) == []
        await switch.keep_meters(())
        bridge.appctl("revalidator/purge")
        drain(bridge.sockets[2])
        told.clear()
        arrived = 0
        for _ in range(20):
            for _ in range(10):
                bridge.sockets[1].send(frame)
            await asyncio.sleep(0.01)
            arrived += drain(bridge.sockets[2]).count(frame)
        await until(lambda: bool(told))
        await switch.barrier()
        assert arrived > 100
        assert len(told) < 100
        await switch.close()
    bridge.ofctl("del-meters")


@pytest.mark.ovs
async def test_a_real_switch_tells_of_what_others_change_and_not_of_our_own_changes(bridge: Bridge) -> None:
    ours, other = await Switch.connect(bridge.socket), await Switch.connect(bridge.socket)
    await ours.apply([], await ours.dump())
    told: list[int] = []
    await ours.watch(lambda: told.append(len(told)))
    assert await ours.apply(FLOWS) == []
    assert await ours.apply([], FLOWS[:5]) == []
    await ours.barrier()
    assert told == []
    for change in (([FLOWS[0]], []), ([replace(FLOWS[0], actions=(Output(2),))], []), ([], FLOWS)):
        told.clear()
        assert await other.apply(*change) == []
        await until(lambda: bool(told))
    await ours.close()
    await other.close()


async def test_a_switch_that_tells_of_no_changes_says_so(ovs: Peer, switch: Switch) -> None:
    ovs.answers[Kind.MULTIPART_REQUEST] = lambda xid, _body: error(xid, 1, 2)
    with pytest.raises(SwitchRefused):
        await switch.watch(lambda: None)


@pytest.mark.ovs
async def test_one_zone_of_a_real_switch_is_flushed(bridge: Bridge) -> None:
    switch = await Switch.connect(bridge.socket)
    commit = Flow(0, 1, match(eth_type=0x800, in_port=1), (Ct(11, commit=True), Ct(12, commit=True)))
    assert await switch.apply([commit], await switch.dump()) == []
    await switch.packet_out(
        frames.udp(frames.Path("10.0.0.1", "10.0.0.2"), (1, 2)), commit.actions, in_port=1
    )
    await switch.barrier()
    assert [f"zone={zone}" in bridge.appctl("dpctl/dump-conntrack") for zone in (11, 12)] == [True, True]
    await switch.flush_ct_zone(11)
    assert [f"zone={zone}" in bridge.appctl("dpctl/dump-conntrack") for zone in (11, 12)] == [False, True]
    await switch.close()


@pytest.mark.ovs
async def test_a_tunnel_option_is_mapped_once(bridge: Bridge) -> None:
    switch = await Switch.connect(bridge.socket)
    await switch.map_tunnel_option(0xFFFF, 0x41)
    assert await switch.apply([Flow(1, 1, match(tun_metadata0=1), ())]) == []
    with pytest.raises(SwitchRefused, match="mapped already"):
        await switch.map_tunnel_option(0xFFFF, 0x41)
    await switch.close()


@pytest.mark.ovs
async def test_the_agent_learns_that_a_real_switch_was_restarted(bridge: Bridge) -> None:
    switch = await Switch.connect(bridge.socket)
    assert await switch.apply(FLOWS) == []
    bridge.stop_switch()
    assert "closed the connection" in await closed(switch)
    with pytest.raises(SwitchGone):
        await switch.dump()
    bridge.start_switch()
    again = await Switch.connect(bridge.socket)
    assert await again.dump() == []
    await again.close()
    await switch.close()


@pytest.mark.ovs
async def test_a_bridge_that_does_not_speak_our_version_says_so(bridge: Bridge) -> None:
    bridge.vsctl("set", "bridge", "br-int", "protocols=OpenFlow10,OpenFlow15")
    with pytest.raises((SwitchRefused, SwitchGone)):
        await Switch.connect(bridge.socket)
    bridge.vsctl("set", "bridge", "br-int", "protocols=OpenFlow14")
    switch = await Switch.connect(bridge.socket)
    await switch.close()
