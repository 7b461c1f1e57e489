# SPDX-License-Identifier: Apache-2.0
"""What every host is told and when: turns of the log in, envelopes per host out, what hosts say into the outbox.

Sans-I/O and without a clock: `push.server` brings bytes and time. Rows and interest are `goal`'s; one host's stream is
`push.session`'s. A turn costs the hosts that it concerns, and nothing for the others.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from alcor.base.net import Ip, Mac
from alcor.base.wire.alcor_pb2 import Ack, Hello
from alcor.dataplane.rows import Claim
from alcor.goal.compiler import Source
from alcor.goal.declare import GoalFeature, Report
from alcor.goal.state import Goal, Step
from alcor.push import encode
from alcor.push.outbox import Outbox
from alcor.push.recent import Recent
from alcor.push.session import Concern, Counts, HostSession, Limits, Present
from alcor.push.snapshots import Snapshots
from alcor.push.turn import Turn
from alcor.store.declare import Change, Position


class Publisher:
    """The goal state at one position and the sessions of the hosts that follow it."""

    def __init__(
        self, features: Sequence[GoalFeature], source: Source, outbox: Outbox, limits: Limits | None = None
    ) -> None:
        self.outbox = outbox
        self.limits = limits or Limits()
        self.is_loaded = False
        self._source = source
        self._present = _present(Goal(features), Position(0, ""), self.limits)
        self._sessions: dict[str, HostSession] = {}
        self._by_age: OrderedDict[str, HostSession] = OrderedDict()  # live sessions, by where they stand

    @property
    def goal(self) -> Goal:
        """Rows and interest as of `position`."""
        return self._present.goal

    @property
    def counts(self) -> Counts:
        """What is counted of all sessions together."""
        return self._present.counts

    @property
    def position(self) -> Position:
        """Where in the log this is."""
        return self._present.position

    def load(self, position: Position) -> Iterator[None]:
        """Fills the goal state from the source, pausing every few milliseconds; sessions are opened after its end.

        `position` is the source's now; turns that come meanwhile are given to `apply` as ever.
        """
        self._present.position = position
        return self._load(self.goal.load(self._source))

    def apply(self, changes: Sequence[Change], position: Position) -> None:
        """Takes one turn, the source showing the state right after it."""
        step = self.goal.apply(self._source, changes)
        self._present.position = position
        if not self.is_loaded:
            return
        self._present.recent.append(position, step)
        turn = Turn(position, step.rows, self.limits.chunk_bytes_max)
        for session, concern in self._concerns(step).values():
            session.turn(turn, concern)
            self._by_age.move_to_end(session.host)
        self._move_the_idle()

    def open(self, host: str, wake: Callable[[], None]) -> HostSession:
        """A session for a new stream of the host; an older stream of it ends. `wake` is called when something waits."""
        assert self.is_loaded, "hosts are served once everything is loaded"
        old = self._sessions.get(host)
        if old is not None:
            old.close()
        session = self._sessions[host] = HostSession(host, self._present, self.limits, wake)
        self._by_age[host] = session
        self._by_age.move_to_end(host)
        return session

    def hello(self, session: HostSession, hello: Hello) -> None:
        """The host says what it has."""
        session.hello(hello)
        if self._sessions.get(session.host) is session:
            self._by_age.move_to_end(session.host)

    def ack(self, session: HostSession, ack: Ack) -> None:
        """The host has applied everything up to a position; what it reports goes to the outbox."""
        if self._sessions.get(session.host) is not session:
            return
        if ack.HasField("position"):
            session.acked = encode.position_of(ack.position)
        session.failures = {(failure.scope, failure.key): failure.reason for failure in ack.failures}
        if ack.claims:
            self.outbox.claims(
                session.host,
                [Claim(claim.key, Ip(claim.address), Mac(claim.mac)) for claim in ack.claims],
            )
        if ack.reports:
            self.outbox.reports(
                session.host,
                [
                    Report(report.key, report.generation, report.realised, report.reason)
                    for report in ack.reports
                ],
            )

    def close(self, session: HostSession) -> bool:
        """The stream ended. True if the host has no other by now."""
        session.close()
        if self._sessions.get(session.host) is not session:
            return False
        del self._sessions[session.host], self._by_age[session.host]
        return True

    def session(self, host: str) -> HostSession | None:
        """The host's session, if it has one."""
        return self._sessions.get(host)

    def sessions(self) -> list[HostSession]:
        """All sessions."""
        return list(self._sessions.values())

    def _load(self, slices: Iterator[None]) -> Iterator[None]:
        yield from slices
        self._present = _present(self.goal, self.position, self.limits)
        self.is_loaded = True

    def _concerns(self, step: Step) -> dict[str, tuple[HostSession, Concern]]:
        """Of the hosts with a session, what concerns each."""
        found: dict[str, tuple[HostSession, Concern]] = {}

        def concern(host: str) -> Concern | None:
            known = found.get(host)
            if known is None:
                session = self._sessions.get(host)
                if session is None:
                    return None
                known = found[host] = session, Concern()
            return known[1]

        for scope in dict.fromkeys(change.scope for change in step.rows):
            for host in self.goal.interest.hosts(scope):
                if (of_host := concern(host)) is not None:
                    of_host.scopes.append(scope)
        for host, scope in step.moves.entered:
            if (of_host := concern(host)) is not None:
                of_host.entered.append(scope)
        for host, scope in step.moves.left:
            if (of_host := concern(host)) is not None:
                of_host.left.append(scope)
        return found

    def _move_the_idle(self) -> None:
        """Tells hosts that nothing concerned for long where the log is, so that they can catch up after an absence."""
        recent = self._present.recent
        for _ in range(len(self._by_age)):
            session = next(iter(self._by_age.values()))
            if session.is_live and session.told and not recent.is_ageing(session.told.revision):
                return
            session.move(self.position)
            self._by_age.move_to_end(session.host)


def _present(goal: Goal, position: Position, limits: Limits) -> Present:
    recent = Recent(position, limits.recent_max)
    return Present(goal, recent, Snapshots(goal.compiler, recent, limits.chunk_bytes_max), position, Counts())
