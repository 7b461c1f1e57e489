# SPDX-License-Identifier: Apache-2.0
"""Push and hosts in one process, moved step by step: turns, messages and faults in any order, reproducibly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import msgspec

from alcor.agent.rows import HostRows
from alcor.agent.rows import Position as HostPosition
from alcor.agent.session import Failure, HostIdentity, Refused, Report, Session
from alcor.base.wire.alcor_pb2 import Envelope
from alcor.push.core import Publisher
from alcor.push.outbox import Outbox
from alcor.push.session import HostSession, Limits
from alcor.store.declare import Position
from alcor.testing.transport import Faults, Line
from tests.goal import toy
from tests.goal.histories import State, Turn

RowsByScope = Mapping[str, Mapping[str, bytes]]


@dataclass
class Host:
    """An agent, and both ends of its stream."""

    name: str
    session: Session
    at_push: HostSession | None
    down: Line
    up: Line
    refusals: int = 0
    received: list[Envelope] = field(default_factory=list)

    @property
    def rows(self) -> HostRows:
        return self.session.rows

    def holds(self) -> dict[str, dict[str, bytes]]:
        """The rows of all complete scopes, encoded again."""
        encode = msgspec.msgpack.encode
        rows = self.rows
        return {s: {key: encode(row) for key, row in rows.scopes[s].items()} for s in rows.complete}


class Simulation:
    """A log, a push and hosts `r0`, `r1`... of the made-up product. Everything random comes from one seed."""

    def __init__(
        self, seed: int, *, hosts: int = 4, faults: Faults | None = None, limits: Limits | None = None
    ) -> None:
        self.random = Random(seed)
        self.faults = faults or Faults()
        self.limits = limits or Limits()
        self.state = State(toy.SCHEMA)
        self.outbox = Outbox(toy.GOAL)
        self.history: dict[HostPosition | None, tuple[RowsByScope, dict[str, list[str]]]] = {}
        self.asked = 0
        self.publisher = self._loaded_publisher()
        self.hosts = {f"r{n}": self._new_host(f"r{n}") for n in range(hosts)}

    def turn(self, turn: Turn) -> None:
        """A turn is committed and reaches push."""
        changes = self.state.take(turn)
        self.publisher.apply(changes, self.state.tables.position)
        self._remember()

    def connect(self, host: Host) -> None:
        """The agent opens a new stream; whatever was under way on the old one is lost."""
        host.down.cut()
        host.up.cut()
        host.up.send(host.session.hello())
        host.at_push = None

    def lose_stream(self, host: Host) -> None:
        """Both ends see the stream end; the agent opens another."""
        if host.at_push is not None:
            self.publisher.close(host.at_push)
        self.connect(host)

    def restart_agent(self, host: Host) -> None:
        """The agent forgets everything."""
        host.session = _new_session(host.name)
        self.lose_stream(host)

    def restart_push(self) -> None:
        """Push forgets everything but the log."""
        self.publisher = self._loaded_publisher()
        for host in self.hosts.values():
            self.connect(host)

    def restore(self, older: State) -> None:
        """The log is replaced by an older copy, which goes on differently."""
        self.state = older
        self.restart_push()

    def push_sends(self, host: Host, bytes_max: int = 300) -> bool:
        """Push hands about so many bytes to the stream; False if nothing waited."""
        if host.at_push is None:
            return False
        messages = host.at_push.take(bytes_max)
        for message in messages:
            self._watch(host, message)
            host.down.send(message)
        return bool(messages)

    def push_reads(self, host: Host) -> bool:
        """Push reads one message; False if there was none."""
        message = host.up.deliver()
        if message is None:
            return False
        envelope = Envelope.FromString(message)
        if envelope.WhichOneof("kind") == "hello":
            if host.at_push is None:
                host.at_push = self.publisher.open(host.name, lambda: None)
            elif host.at_push.is_answered:  # a repeated one: push ends such a stream
                self.lose_stream(host)
                return True
            self.publisher.hello(host.at_push, envelope.hello)
        elif host.at_push is not None:
            self.publisher.ack(host.at_push, envelope.ack)
        return True

    def agent_reads(self, host: Host) -> bool:
        """The agent reads one message; False if there was none. It gives the stream up when it must refuse it."""
        message = host.down.deliver()
        if message is None:
            return False
        try:
            before = host.rows.position
            host.session.receive(message)
        except Refused:
            host.refusals += 1
            self.lose_stream(host)
            return True
        host.received.append(Envelope.FromString(message))
        if host.rows.position != before:
            self._check_at_position(host)
        self._acknowledge(host)
        return True

    def agent_sends(self, host: Host) -> bool:
        """The agent sends what is due; False if nothing was."""
        message = host.session.outgoing()
        if message is not None:
            host.up.send(message)
        return message is not None

    def random_step(self) -> None:
        """Something happens; mostly messages move."""
        host = self.random.choice(list(self.hosts.values()))
        step = self.random.choices(
            (self.push_sends, self.push_reads, self.agent_reads, self.agent_sends), weights=(4, 3, 5, 2)
        )[0]
        step(host)

    def settle(self) -> None:
        """The network works from now on; everything moves until nothing is left to move."""
        self.random = Random(0)
        for host in self.hosts.values():
            host.down = Line(self.random, Faults())
            host.up = Line(self.random, Faults())
            self.lose_stream(host)
        for _ in range(100_000):
            moved = False
            for host in self.hosts.values():
                for step in (self.push_reads, self.push_sends, self.agent_reads, self.agent_sends):
                    moved |= step(host)
            if not moved:
                return
        raise AssertionError("it does not come to rest")

    def check(self) -> None:
        """Every host holds exactly the rows that it needs, and push knows it."""
        goal = self.publisher.goal
        for host in self.hosts.values():
            needed = goal.interest.scopes(host.name)
            assert host.holds() == {scope: dict(goal.compiler.rows(scope)) for scope in needed}
            assert host.rows.scopes.keys() == set(needed)
            assert host.rows.is_whole
            assert host.at_push is not None
            assert host.at_push.told == host.at_push.acked
            assert host.rows.position == at_host(host.at_push.told)

    def _check_at_position(self, host: Host) -> None:
        """Right after its position moved, a host holds what was true there, in all it needs and calls complete."""
        true_there, needed = self.history[host.rows.position]
        for scope, rows in host.holds().items():
            if scope in needed.get(host.name, ()):
                assert rows == true_there.get(scope, {}), f"{scope} on {host.name} at {host.rows.position}"

    def _watch(self, host: Host, message: bytes) -> None:
        """Nobody is sent another host's scope, nor one that no lamp there leads to."""
        envelope = Envelope.FromString(message)
        kind = envelope.WhichOneof("kind")
        self.asked += kind == "ask"
        scopes = {envelope.enter.scope, *(row.scope for row in envelope.delta.rows)} - {""}
        assert all(scope == f"host:{host.name}" for scope in scopes if scope.startswith("host:"))

    def _acknowledge(self, host: Host) -> None:
        if host.rows.position is not None:
            own = host.rows.scopes.get(f"host:{host.name}", {})
            reports = [Report(key, 1, is_realised=True) for key in own]
            failures = [Failure(*place, reason) for place, reason in host.rows.faults.items()]
            host.session.ack(host.rows.position, reports, failures)

    def _loaded_publisher(self) -> Publisher:
        publisher = Publisher(toy.GOAL, self.state.tables, self.outbox, self.limits)
        for _ in publisher.load(self.state.tables.position):
            pass
        self.publisher = publisher
        self._remember()
        return publisher

    def _remember(self) -> None:
        goal = self.publisher.goal
        rows = {scope: dict(goal.compiler.rows(scope)) for scope in goal.compiler.scopes()}
        needed = {host: goal.interest.scopes(host) for host in goal.interest.all_hosts()}
        self.history[at_host(self.publisher.position)] = rows, needed

    def _new_host(self, name: str) -> Host:
        down, up = Line(self.random, self.faults), Line(self.random, self.faults)
        host = Host(name, _new_session(name), None, down, up)
        self.connect(host)
        return host


def at_host(position: Position | None) -> HostPosition | None:
    """A position as hosts write it."""
    return position and HostPosition(position.revision, bytes.fromhex(position.turn))


def _new_session(name: str) -> Session:
    return Session(HostIdentity(name, "10.0.0.1"), HostRows(toy.KINDS))
