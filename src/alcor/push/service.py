# SPDX-License-Identifier: Apache-2.0
"""Push at work, whatever carries its streams: follows the store, attends to hosts, and writes down what they say.

Brings time and tasks to `push.core`, which decides what is sent. `push.server` brings gRPC.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError

from alcor.base.clock import utc_text
from alcor.base.errors import Unavailable
from alcor.base.metrics import HOST_DROPS, HOST_LAG, HOST_SNAPSHOTS, HOSTS_CONNECTED, REPORTS, ROWS_DERIVED
from alcor.base.net import ip_version, parse_ip
from alcor.base.telemetry import log, log_warning
from alcor.base.wire.alcor_pb2 import Envelope, Hello
from alcor.base.wire.held import Held
from alcor.base.wire.stream import Stream, StreamClosed
from alcor.goal.declare import GoalFeature, HelloFacts, Life
from alcor.push.core import Publisher
from alcor.push.inspect import Inspections
from alcor.push.liveness import Liveness
from alcor.push.outbox import Outbox
from alcor.push.pki import OPERATOR
from alcor.push.refusals import Refusals
from alcor.push.session import HostSession, Limits, Phase
from alcor.push.show import AgentRefused
from alcor.store.declare import Change, Position
from alcor.store.reader import Txn
from alcor.store.store import Outside, Store

_HELLO_WAIT_S = 10.0  # for the first message of a stream
_LAST_WRITE_S = 5.0  # for a message that is being written when the stream is to end
_HOST_LENGTH_MAX = 255
_FACTS_MAX, _FACT_LENGTH_MAX = 1_000, 255  # of what a host says of itself, all of which is logged and shown
_TAKE_OVER_S = 5.0  # within which the stream of a host takes the place of another only once
_RETRY_S = 0.5  # before what hosts said is submitted again
_LOOK_S = 0.5  # between looks for hosts that have gone
_FEW_WORDS = 8  # of hosts in one turn: so few are not worth waiting for more
_TAKE_BYTES = 1 << 16  # handed to the transport before others have their turn


class Unwelcome(Exception):
    """The stream is refused; the message says why."""


class Service:
    """Push between `start` and `close`."""

    def __init__(
        self, store: Store, features: Sequence[GoalFeature], outside: Outside, name: str = ""
    ) -> None:
        self._name = name  # of this push among those on one log; the same when it is started again
        self._store = store
        self._features = features
        self._lives = [o.life_in for feature in features for o in feature.observers if o.life_in]
        self._settings = settings = outside.settings
        self._clock = outside.clock
        self._meters = outside.meters
        self._word_came = asyncio.Event()
        self._outbox = Outbox(features, self._word_came.set)
        self._liveness = Liveness(settings.silence_grace_s, settings.silence_share_max)
        self._loaded = asyncio.Event()
        self._load_due = asyncio.Event()
        self._publisher = self._new_publisher()
        self._slices: Iterator[None] = iter(())  # of the load of _publisher
        self._inspections = Inspections()
        self._refusals = Refusals()
        self._tasks: list[asyncio.Task[None]] = []
        self._hellos: dict[str, HelloFacts] = {}  # of the hosts that are here
        self._taken_over_s: dict[str, float] = {}  # when a stream of the host last took another's place
        self._unsubscribe: Callable[[], None] = lambda: None
        self._counted: Counter[tuple[Any, ...]] = (
            Counter()
        )  # what the meters have been told, by metric and labels

    @property
    def publisher(self) -> Publisher:
        """The present goal state and sessions; another one after the log was replaced."""
        return self._publisher

    async def inspect(self, session: HostSession, what: str, name: str) -> Held | str:
        """What the host has, asked of itself, or why it does not say."""
        return await self._inspections.ask(session, what, name)

    def refuse(self, peer: str, reason: Unwelcome) -> None:
        """Remembers and logs that an agent was refused, for `alcor show hosts`."""
        log("host refused", peer=peer, why=str(reason))
        self._refusals.note(peer, str(reason), utc_text(self._clock.now_s()))

    def refused(self) -> list[AgentRefused]:
        """Which agents were refused lately."""
        return self._refusals.listed()

    async def named(self, name: str) -> list[str]:
        """The ids of what stands for rows and has this name."""
        tables = {made_from.table for feature in self._features for made_from in feature.derivations}
        found = []
        for table in (table for table in tables if "name" in table.kind.__struct_fields__):
            for stored in self._store.tables.snapshot_scan(table):
                found += [each.id for each in stored if each.name == name]
                await asyncio.sleep(0)
        return found

    def start(self) -> None:
        """Follows the store and begins to load; hosts wait until that is done."""
        self._unsubscribe = self._store.subscribe(self._on_changes, self.on_reset)
        self._begin(self._store.tables.position)
        self._tasks = [
            asyncio.create_task(self._load(), name="push loads"),
            asyncio.create_task(self._submit(), name="push submits"),
            asyncio.create_task(self._look(), name="push looks for silent hosts"),
        ]

    async def loaded(self) -> None:
        """Returns once hosts are served."""
        await self._loaded.wait()

    async def stopped(self) -> None:
        """Returns when push was closed; raises what broke it."""
        ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            if not task.cancelled():
                task.result()

    async def close(self) -> None:
        """Ends all sessions; again, it does nothing. Nobody is called gone for it."""
        self._unsubscribe()
        self._unsubscribe = lambda: None
        for session in self._publisher.sessions():
            session.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def attend(self, stream: Stream, certified: frozenset[str] | None) -> None:
        """Serves one stream to its end. `certified` are the names its peer has proved; None: nothing is to be proved.

        Raises Unwelcome, and ends without a word when the stream does.
        """
        try:
            hello = await self._first_hello(stream, certified)
            await self._loaded.wait()
            if hello.position.revision > self._publisher.position.revision:
                with suppress(Unavailable):  # then the host is compared with what is known here
                    await self._store.caught_up()
            self._take_over(hello.host)
            await self._converse(stream, hello)
        except StreamClosed:
            return  # every stream ends so

    def _take_over(self, host: str) -> None:
        """A host that comes again has lost its stream; one that comes again and again is two. Raises Unwelcome."""
        now_s = self._clock.monotonic_s()
        if self._publisher.session(host) is None:
            return
        if now_s - self._taken_over_s.get(host, -_TAKE_OVER_S) < _TAKE_OVER_S:
            raise Unwelcome(
                f"another agent has just come as {host}; let each have a name of its own (--host)"
            )
        self._taken_over_s[host] = now_s

    async def _converse(self, stream: Stream, hello: Hello) -> None:
        publisher = self._publisher
        due = asyncio.Event()
        session = publisher.open(hello.host, due.set)
        log("host connected", host=hello.host, revision=hello.position.revision)
        self._liveness.came(hello.host)
        self._hellos[hello.host] = facts = HelloFacts(
            hello.tunnel_ip,
            hello.version,
            hello.bridge,
            self._now(),
            self._name,
            {mapping.physical_network: mapping.bridge for mapping in hello.bridge_mappings},
            hello.availability_zone,
        )
        self._outbox.hello(hello.host, facts)
        publisher.hello(session, hello)
        reader = asyncio.create_task(self._read(stream, publisher, session))
        writer = asyncio.create_task(_write(stream, session, due))
        try:
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._inspections.ended(session)
            if publisher.close(session) and self._publisher.session(hello.host) is None:
                self._liveness.went(hello.host, self._clock.monotonic_s())
                self._hellos.pop(hello.host, None)
                log("host disconnected", host=hello.host)
            reader.cancel()
            # A write that is cancelled half-way would keep gRPC from ending the stream.
            await asyncio.wait((writer,), timeout=_LAST_WRITE_S)
            writer.cancel()
            ends = await asyncio.gather(reader, writer, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                raise end

    async def _first_hello(self, stream: Stream, certified: frozenset[str] | None) -> Hello:
        try:
            async with asyncio.timeout(_HELLO_WAIT_S):
                envelope = _parsed(await stream.read())
        except TimeoutError:
            raise Unwelcome("no hello came") from None
        if envelope.WhichOneof("kind") != "hello":
            raise Unwelcome("a stream begins with a hello")
        hello = envelope.hello
        if not hello.host or len(hello.host) > _HOST_LENGTH_MAX or not hello.host.isprintable():
            raise Unwelcome("the hello names no host")
        if certified is not None and (hello.host not in certified or hello.host == OPERATOR):
            raise Unwelcome(f"the certificate is not that of host {hello.host}")
        try:
            version = ip_version(parse_ip(hello.tunnel_ip))
        except ValueError as error:
            raise Unwelcome(f"the tunnel address is none: {error}") from error
        if version != 4:
            raise Unwelcome(
                f"tunnels lead over IPv4, and {hello.tunnel_ip} is not: set tunnel_ip (--tunnel-ip)"
            )
        facts = [hello.version, hello.bridge, hello.availability_zone]
        facts += [name for wire in hello.bridge_mappings for name in (wire.physical_network, wire.bridge)]
        if len(facts) > _FACTS_MAX or max(map(len, facts)) > _FACT_LENGTH_MAX:
            raise Unwelcome("the hello says more of the host than anybody wants to know")
        return hello

    async def _read(self, stream: Stream, publisher: Publisher, session: HostSession) -> None:
        while True:
            envelope = _parsed(await stream.read())
            match envelope.WhichOneof("kind"):
                case "ack":
                    publisher.ack(session, envelope.ack)
                    for report in envelope.ack.reports:
                        outcome = "realised" if report.realised else "not realised"
                        self._meters.counter(REPORTS, outcome).inc()
                case "hello":
                    if envelope.hello.host != session.host:
                        raise Unwelcome(f"host {session.host} now calls itself {envelope.hello.host}")
                    if session.is_answered:
                        raise Unwelcome("a hello that was not asked for")
                    publisher.hello(session, envelope.hello)
                case "inspected":
                    self._inspections.answered(session, envelope.inspected)
                case kind:
                    raise Unwelcome(f"an agent sends no {kind}")

    def _new_publisher(self) -> Publisher:
        settings = self._settings
        limits = Limits(
            queue_rows_max=settings.host_queue_max,
            queue_bytes_max=settings.host_queue_bytes_max,
            chunk_bytes_max=settings.chunk_bytes_max,
        )
        return Publisher(self._features, self._store.tables, self._outbox, limits)

    def _on_changes(self, changes: Sequence[Change], position: Position) -> None:
        self._publisher.apply(changes, position)
        for life_in in self._lives:
            for change in changes:
                if life := life_in(change):
                    self._heard_of(life)

    def _heard_of(self, life: Life) -> None:
        """What the log says of a host's life, by whichever push."""
        is_here = self._publisher.session(life.host) is not None
        if is_here and not life.is_alive:
            self._outbox.hello(life.host, replace(self._hellos[life.host], now=self._now()))
        elif not is_here and life.is_alive and life.push == self._name:
            self._liveness.expect([life.host], self._clock.monotonic_s())
        elif not is_here and life.is_alive:
            self._liveness.moved(life.host)

    def _now(self) -> str:
        return utc_text(self._clock.now_s())

    def on_reset(self, position: Position) -> None:
        """The log is another one: everything is derived anew, and hosts are asked what they have."""
        log_warning("goal state is derived anew", revision=position.revision)
        old, self._publisher = self._publisher, self._new_publisher()
        for session in old.sessions():
            session.close()
        self._begin(position)

    def _begin(self, position: Position) -> None:
        self._loaded.clear()
        self._slices = self._publisher.load(position)
        self._load_due.set()

    async def _load(self) -> None:
        while True:
            await self._load_due.wait()
            self._load_due.clear()
            publisher, slices = self._publisher, self._slices
            begun_s = self._clock.monotonic_s()
            for _ in slices:
                await asyncio.sleep(0)
                if publisher is not self._publisher:
                    break  # the log was replaced meanwhile
            else:
                gc.freeze()
                now_s = self._clock.monotonic_s()
                self._liveness.expect(self._expected(), now_s)
                log("goal state loaded", revision=publisher.position.revision, took_s=now_s - begun_s)
                self._loaded.set()

    def _expected(self) -> set[str]:
        """Hosts that are held to be alive and came to this push last, or to none that is known."""
        observers = [observer for feature in self._features for observer in feature.observers]
        lives = [life for o in observers if o.living for life in o.living(self._store.tables)]
        return {life.host for life in lives if life.push in ("", self._name)}

    async def _submit(self) -> None:
        """Brings what hosts said into turns: a few words at once; when they come in numbers, in batches."""
        settings = self._settings
        while True:
            await self._word_came.wait()
            self._word_came.clear()
            while self._outbox.count:
                batch = self._outbox.take(settings.status_batch_max)
                try:
                    await self._store.submit(batch.run, "hosts")
                except Unavailable as refusal:
                    log_warning("reports wait", words=batch.count, why=refusal.message)
                    self._outbox.put_back(batch)
                    await asyncio.sleep(_RETRY_S)
                if batch.count > _FEW_WORDS and self._outbox.count < settings.status_batch_max:
                    await asyncio.sleep(settings.status_batch_ms / 1000)

    async def _look(self) -> None:
        """Calls hosts gone, and shows figures."""
        while True:
            await asyncio.sleep(_LOOK_S)
            for host in self._liveness.due(self._clock.monotonic_s()):
                log_warning("host gone", host=host)
                self._outbox.life(Life(host, False, self._name, self._now()))
            await self._do_what_is_due()
            self._show()

    async def _do_what_is_due(self) -> None:
        """Runs what only time asks for; what cannot be logged now is due again at the next look."""
        now = self._now()
        for observer in (observer for feature in self._features for observer in feature.observers):
            on_due = observer.on_due
            if on_due is None or observer.is_due is None or not observer.is_due(self._store.tables, now):
                continue
            try:
                await self._store.submit(partial(_due, on_due, now), "time")
            except Unavailable as refusal:
                log_warning("what is due waits", why=refusal.message)

    def _show(self) -> None:
        publisher = self._publisher
        sessions = publisher.sessions()
        told = min((session.told.revision for session in sessions if session.told), default=0)
        self._meters.gauge(HOSTS_CONNECTED).set(len(sessions))
        self._meters.gauge(HOST_LAG).set(publisher.position.revision - told if told else 0)
        counted: Counter[tuple[Any, ...]] = Counter({(ROWS_DERIVED,): publisher.goal.compiler.derived})
        for reason, snapshots in publisher.counts.snapshots.items():
            counted[HOST_SNAPSHOTS, reason] = snapshots
        for bound, drops in publisher.counts.drops.items():
            counted[HOST_DROPS, bound] = drops
        for metric, count in (counted - self._counted).items():
            self._meters.counter(*metric).inc(count)
        self._counted = counted


def _due(on_due: Callable[[Txn, str], None], now: str, txn: Txn) -> None:
    on_due(txn, now)


async def _write(stream: Stream, session: HostSession, due: asyncio.Event) -> None:
    while session.phase is not Phase.CLOSED:
        due.clear()
        envelopes = session.take(_TAKE_BYTES)
        if not envelopes:
            await due.wait()
        for envelope in envelopes:
            await stream.write(envelope)
    await stream.close()


def _parsed(message: bytes) -> Envelope:
    try:
        return Envelope.FromString(message)
    except DecodeError as error:
        raise Unwelcome("a message that cannot be read") from error
