# SPDX-License-Identifier: Apache-2.0
"""The host's end of the stream: says hello, takes rows, acknowledges; and opens the stream again whenever it ends.

`Session` is sans-I/O; `run` moves the bytes. What follows from the rows is `agent.derive`'s and `agent.reconcile`'s.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Protocol

from google.protobuf.message import DecodeError

from alcor.agent.rows import Changed, HostRows, Position
from alcor.base.metrics import SESSIONS
from alcor.base.net import Ip
from alcor.base.telemetry import Meters, log, log_warning
from alcor.base.wire import alcor_pb2 as wire
from alcor.base.wire.stream import Stream, StreamClosed
from alcor.dataplane.rows import Claim


class Report(NamedTuple):
    """A row of the host's own scope is realised in this generation, or is not (any more), with the reason."""

    key: str
    generation: int
    is_realised: bool
    reason: str = ""


class Failure(NamedTuple):
    """A row that does not work here, with the reason."""

    scope: str
    key: str
    reason: str


@dataclass(frozen=True)
class HostIdentity:
    """What the agent says of itself in each hello."""

    host: str
    tunnel_ip: str
    version: str = ""
    bridge: str = ""
    bridge_mappings: tuple[tuple[str, str], ...] = ()  # (physical network, the host's bridge to it)
    availability_zone: str = ""


class Refused(Exception):
    """What came does not follow from what came before: the stream is given up, and the next hello mends it."""


class Session:
    """The protocol's state on the host. One stream at a time; rows and reports outlive streams."""

    def __init__(self, identity: HostIdentity, rows: HostRows, meters: Meters | None = None) -> None:
        self.identity = identity
        self.rows = rows
        self._meters = meters
        self.wake: Callable[[], None] = lambda: None  # called when `outgoing` has something
        self.on_inspect: Callable[[wire.Inspect], None] | None = None  # push asks what this host has
        self.received = 0  # messages on this stream
        self._is_asked = False
        self._reports: dict[str, Report] = {}  # the newest of every row
        self._unsent: dict[str, Report] = {}
        self._claims: dict[tuple[str, Ip], Claim] = {}  # to be sent; by port and address
        self._acked: Position | None = None
        self._failures: tuple[Failure, ...] = ()
        self._is_ack_due = False
        self._inspected: wire.Inspected | None = None

    def hello(self) -> bytes:
        """The first message of a new stream."""
        self.received = 0
        self._is_asked = False
        self._inspected = None
        self.rows.forget_staged()
        self._unsent = dict(self._reports)
        self._is_ack_due = self._acked is not None or bool(self._claims)
        return self._hello().SerializeToString()

    def receive(self, message: bytes) -> Changed:
        """Takes one message. Raises Refused if it does not follow from what came before."""
        try:
            envelope = wire.Envelope.FromString(message)
        except DecodeError as error:
            raise Refused("a message that cannot be read") from error
        if envelope.sequence != self.received + 1:
            raise Refused(f"message {envelope.sequence} after message {self.received}")
        self.received = envelope.sequence
        match envelope.WhichOneof("kind"):
            case "enter":
                return self.rows.enter(envelope.enter.scope, envelope.enter.rows, is_last=envelope.enter.last)
            case "delta":
                return self._delta(envelope.delta)
            case "leave":
                return self.rows.leave(envelope.leave.scope)
            case "ask":
                self.rows.forget_staged()
                self._is_asked = True
                self.wake()
                return Changed()
            case "inspect" if self.on_inspect is not None:
                self.on_inspect(envelope.inspect)
                return Changed()
            case kind:
                raise Refused(f"a message of kind {kind}")

    def ack(self, position: Position, reports: Iterable[Report], failures: Iterable[Failure]) -> None:
        """The switch has everything up to `position`. `reports` are news, `failures` are all that there are.

        Called again before the last one was sent, it is merged into that.
        """
        for report in reports:
            self._reports[report.key] = self._unsent[report.key] = report
        self._acked = position
        self._failures = tuple(failures)
        self._is_ack_due = True
        self.wake()

    def claim(self, claim: Claim) -> None:
        """A port of this host was seen to claim an address."""
        self._claims.pop((claim.key, claim.address), None)
        self._claims[claim.key, claim.address] = claim
        self._is_ack_due = True
        self.wake()

    def inspected(self, answer: wire.Inspected) -> None:
        """What push asked for; it is sent after whatever else there is to be sent."""
        self._inspected = answer
        self.wake()

    def report(self, key: str) -> Report | None:
        """What was last reported of a row."""
        return self._reports.get(key)

    def forget_report(self, key: str) -> None:
        """The row is gone: nothing is said of it any more."""
        self._reports.pop(key, None)
        self._unsent.pop(key, None)

    def outgoing(self) -> bytes | None:
        """The next message to be sent, or None. To be asked for when the one before has been handed over."""
        if self._is_asked:
            self._is_asked = False
            hello = self._hello()
            hello.hello.compared = True
            hello.hello.digests.extend(
                wire.ScopeDigest(scope=scope, digest=digest) for scope, digest in self.rows.digests()
            )
            return hello.SerializeToString()
        if not self._is_ack_due:
            return self._answer()
        self._is_ack_due = False
        unsent, self._unsent = self._unsent, {}
        claims, self._claims = self._claims, {}
        ack = wire.Ack(
            position=_wire_position(self._acked),
            reports=[_wire_report(report) for report in unsent.values()],
            failures=[
                wire.Failure(scope=scope, key=key, reason=reason) for scope, key, reason in self._failures
            ],
            claims=[
                wire.Claim(key=claim.key, address=claim.address, mac=claim.mac) for claim in claims.values()
            ],
        )
        return wire.Envelope(ack=ack).SerializeToString()

    def end(self, how: str) -> None:
        """The stream is over; what is to be sent waits for the next one. `how` is counted."""
        self.received = 0
        self.wake = lambda: None
        if self._meters is not None:
            self._meters.counter(SESSIONS, how).inc()

    def _answer(self) -> bytes | None:
        if self._inspected is None:
            return None
        answer, self._inspected = self._inspected, None
        return wire.Envelope(inspected=answer).SerializeToString()

    def _delta(self, delta: wire.Delta) -> Changed:
        after = Position(delta.after.revision, delta.after.turn) if delta.HasField("after") else None
        if after != self.rows.position:
            raise Refused(f"changes after {after} while this host stands at {self.rows.position}")
        changed = self.rows.delta(delta.rows)
        self.rows.position = Position(delta.to.revision, delta.to.turn)
        if delta.request_ids:
            log(
                "rows changed",
                rows=len(delta.rows),
                rev=delta.to.revision,
                requests=",".join(dict.fromkeys(delta.request_ids)),
            )
        if delta.whole:
            self.rows.is_whole = True
        return changed

    def _hello(self) -> wire.Envelope:
        identity = self.identity
        hello = wire.Hello(
            host=identity.host,
            position=_wire_position(self.rows.position),
            interest=self.rows.interest(),
            tunnel_ip=identity.tunnel_ip,
            bridge_mappings=[
                wire.BridgeMapping(physical_network=name, bridge=bridge)
                for name, bridge in identity.bridge_mappings
            ],
            version=identity.version,
            bridge=identity.bridge,
            inspects=self.on_inspect is not None,
            availability_zone=identity.availability_zone,
        )
        return wire.Envelope(hello=hello)


def _wire_position(position: Position | None) -> wire.Position | None:
    return wire.Position(revision=position.revision, turn=position.turn) if position else None


def _wire_report(report: Report) -> wire.Report:
    return wire.Report(
        key=report.key, generation=report.generation, realised=report.is_realised, reason=report.reason
    )


class Uniform(Protocol):
    """A source of randomness."""

    def uniform(self, a: float, b: float) -> float:
        """A number between a and b."""


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next attempt: doubling, and jittered so that many hosts do not come at once."""

    ms_min: float
    ms_max: float
    random: Uniform

    def wait_s(self, attempt: int) -> float:
        """The wait before attempt `attempt`, counted from 0 after the last stream that worked."""
        ceiling = min(self.ms_max, self.ms_min * 2 ** min(attempt, 30))
        return self.random.uniform(self.ms_min / 2, ceiling) / 1000


async def run(
    session: Session,
    connect: Callable[[], Awaitable[Stream]],
    on_changed: Callable[[Changed], None],
    backoff: Backoff,
) -> None:
    """Keeps a stream open, until cancelled. `on_changed` is called after each message, also if no row changed but the
    position or `rows.is_whole`; it must not wait.

    Rows stay as they are while there is no stream.
    """
    attempt = 0
    while True:
        try:
            stream = await connect()
            try:
                await _converse(session, stream, on_changed)
            finally:
                await stream.close()
        except (StreamClosed, Refused) as end:
            attempt = 0 if session.received else attempt + 1
            how = "refused" if isinstance(end, Refused) else "closed" if session.received else "unreachable"
            if attempt <= 1:  # it is said once, and counted each time
                log_warning("session ended", host=session.identity.host, why=str(end))
            session.end(how)
        await asyncio.sleep(backoff.wait_s(attempt))


async def _converse(session: Session, stream: Stream, on_changed: Callable[[Changed], None]) -> NoReturn:
    due = asyncio.Event()
    session.wake = due.set
    await stream.write(session.hello())
    writer = asyncio.create_task(_write(session, stream, due), name="session writer")
    due.set()
    try:
        on_changed(session.receive(await stream.read()))
        log("session opened", host=session.identity.host)
        while True:
            on_changed(session.receive(await stream.read()))
    finally:
        writer.cancel()
        # To await the writer itself would swallow a cancellation of this task that comes just then.
        await asyncio.wait((writer,))
        fault = None if writer.cancelled() else writer.exception()
        # A closed stream: the reader has met, or caused, that end.
        if fault is not None and not isinstance(fault, StreamClosed):
            raise fault


async def _write(session: Session, stream: Stream, due: asyncio.Event) -> None:
    """Sends one message at a time: what comes meanwhile is merged into the next."""
    while True:
        await due.wait()
        due.clear()
        while (message := session.outgoing()) is not None:
            await stream.write(message)
