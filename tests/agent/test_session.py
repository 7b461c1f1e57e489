# SPDX-License-Identifier: Apache-2.0
"""The host's end of the stream: what it refuses, what it says, and how it comes back."""

import asyncio
from collections.abc import AsyncIterator
from random import Random

import pytest

from alcor.agent.rows import Changed, HostRows, Position
from alcor.agent.session import Backoff, Failure, HostIdentity, Refused, Report, Session, run
from alcor.base.wire import alcor_pb2 as wire
from alcor.base.wire.stream import Stream, StreamClosed
from alcor.testing.transport import MemoryStream, stream_pair
from tests.goal import toy

ONE, TWO = Position(1, b"a" * 16), Position(2, b"b" * 16)


@pytest.fixture
def session() -> Session:
    return Session(HostIdentity("h", "10.0.0.1", "1.0", "br-int"), HostRows(toy.KINDS))


def position(at: Position | None) -> wire.Position | None:
    return at and wire.Position(revision=at.revision, turn=at.turn)


def moved(number: int, after: Position | None, to: Position) -> bytes:
    delta = wire.Delta(after=position(after), to=position(to))
    return wire.Envelope(delta=delta, sequence=number).SerializeToString()


def entered(number: int, scope: str, *, last: bool = True) -> bytes:
    return wire.Envelope(enter=wire.Enter(scope=scope, last=last), sequence=number).SerializeToString()


def said(message: bytes | None) -> wire.Envelope:
    assert message is not None
    return wire.Envelope.FromString(message)


def test_the_first_hello_says_who_and_that_there_is_nothing(session: Session) -> None:
    hello = said(session.hello()).hello
    assert (hello.host, hello.tunnel_ip, hello.version, hello.bridge) == ("h", "10.0.0.1", "1.0", "br-int")
    assert not hello.HasField("position")
    assert not hello.compared
    assert session.outgoing() is None


def test_a_later_hello_says_where_the_host_stands(session: Session) -> None:
    session.hello()
    session.receive(moved(1, None, ONE))
    session.receive(moved(2, ONE, TWO))
    assert said(session.hello()).hello.position == position(TWO)


def test_changes_that_do_not_follow_are_refused_and_change_nothing(session: Session) -> None:
    session.hello()
    session.receive(moved(1, None, ONE))
    with pytest.raises(Refused, match="while this host stands at"):
        session.receive(moved(2, TWO, TWO))
    assert session.rows.position == ONE


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_gap_or_a_repetition_is_refused(session: Session, number: int) -> None:
    session.hello()
    session.receive(moved(1, None, ONE))
    with pytest.raises(Refused, match=f"message {number} after message 1"):
        session.receive(moved(number, ONE, TWO))


@pytest.mark.parametrize(
    "message", [b"\xff\xff", wire.Envelope(hello=wire.Hello(), sequence=1).SerializeToString()]
)
def test_what_is_no_message_for_a_host_is_refused(session: Session, message: bytes) -> None:
    session.hello()
    with pytest.raises(Refused, match="a message"):
        session.receive(message)


def test_asked_for_digests_it_says_hello_again_and_forgets_half_snapshots(session: Session) -> None:
    session.hello()
    session.receive(entered(1, "s"))
    session.receive(entered(2, "t", last=False))
    session.receive(wire.Envelope(ask=wire.Ask(), sequence=3).SerializeToString())
    hello = said(session.outgoing()).hello
    assert hello.compared
    assert [digest.scope for digest in hello.digests] == ["s"]
    assert session.outgoing() is None


def test_push_says_when_everything_was_sent(session: Session) -> None:
    session.hello()
    assert not session.rows.is_whole
    delta = wire.Delta(to=position(ONE), whole=True)
    session.receive(wire.Envelope(delta=delta, sequence=1).SerializeToString())
    assert session.rows.is_whole


def test_acknowledgements_that_wait_are_merged(session: Session) -> None:
    session.hello()
    session.ack(ONE, [Report("p", 1, True), Report("q", 1, True)], [Failure("s", "k", "broken")])
    session.ack(TWO, [Report("p", 2, False, "unplugged")], [])
    ack = said(session.outgoing()).ack
    assert ack.position == position(TWO)
    assert [(r.key, r.generation, r.realised, r.reason) for r in ack.reports] == [
        ("p", 2, False, "unplugged"),
        ("q", 1, True, ""),
    ]
    assert list(ack.failures) == []
    assert session.outgoing() is None


def test_only_news_is_reported_but_everything_on_a_new_stream(session: Session) -> None:
    session.hello()
    session.ack(ONE, [Report("p", 1, True), Report("q", 1, True)], [Failure("s", "k", "broken")])
    session.outgoing()
    session.ack(TWO, [Report("q", 2, True)], [Failure("s", "k", "broken")])
    ack = said(session.outgoing()).ack
    assert [report.key for report in ack.reports] == ["q"]
    assert [failure.reason for failure in ack.failures] == ["broken"]

    session.forget_report("p")
    session.hello()
    assert [(report.key, report.generation) for report in said(session.outgoing()).ack.reports] == [("q", 2)]


def test_whoever_sends_is_woken(session: Session) -> None:
    woken: list[str] = []
    session.wake = lambda: woken.append("woken")
    session.ack(ONE, [], [])
    session.hello()
    session.receive(wire.Envelope(ask=wire.Ask(), sequence=1).SerializeToString())
    assert len(woken) == 2


def test_waits_double_are_jittered_and_bounded() -> None:
    backoff = Backoff(100, 10_000, Random(1))
    waits = [[backoff.wait_s(attempt) for _ in range(200)] for attempt in (0, 3, 50)]
    for ceiling, found in zip((0.1, 0.8, 10), waits, strict=True):
        assert 0.05 <= min(found) < max(found) <= ceiling
        assert len(set(found)) > 100


class Push:
    """The other end: streams as they are opened."""

    def __init__(self) -> None:
        self.opened: asyncio.Queue[MemoryStream] = asyncio.Queue()
        self.refuses = 0

    async def connect(self) -> Stream:
        if self.refuses:
            self.refuses -= 1
            raise StreamClosed("nobody there")
        here, there = stream_pair()
        self.opened.put_nowait(there)
        return here


@pytest.fixture
async def push(session: Session) -> AsyncIterator[Push]:
    push = Push()

    def acknowledge(changed: Changed) -> None:
        if session.rows.position is not None:
            session.ack(session.rows.position, [], [])

    task = asyncio.create_task(run(session, push.connect, acknowledge, Backoff(0.1, 1, Random(1))))
    async with asyncio.timeout(20):
        yield push
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_stream_is_opened_again_whenever_it_ends(session: Session, push: Push) -> None:
    stream = await push.opened.get()
    assert said(await stream.read()).hello.host == "h"
    await stream.write(moved(1, None, ONE))
    assert said(await stream.read()).ack.position == position(ONE)
    await stream.cut()
    push.refuses = 3
    stream = await push.opened.get()
    assert said(await stream.read()).hello.position == position(ONE)
    assert said(await stream.read()).ack.position == position(ONE)
    assert push.refuses == 0


async def test_a_stream_that_goes_wrong_is_given_up_for_another(session: Session, push: Push) -> None:
    stream = await push.opened.get()
    await stream.read()
    await stream.write(moved(7, None, ONE))
    with pytest.raises(StreamClosed):
        await stream.read()
    stream = await push.opened.get()
    assert not said(await stream.read()).hello.HasField("position")


async def test_at_most_one_acknowledgement_is_under_way_and_one_waits(session: Session, push: Push) -> None:
    stream = await push.opened.get()
    await stream.read()
    at: Position | None = None
    for number in range(1, 4000):
        to = Position(number, b"t" * 16)
        await stream.write(moved(number, at, to))
        at = to
    heard = []
    while not heard or heard[-1] < 3999:
        heard.append(said(await stream.read()).ack.position.revision)
    assert heard == sorted(set(heard))
    assert len(heard) < 3999
