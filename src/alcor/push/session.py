# SPDX-License-Identifier: Apache-2.0
"""One host's stream as push sees it: where the host stands, what waits for it, and what it is to be sent next.

Sans-I/O: `push.server` moves the bytes. Everything waiting is bounded; a host that is too slow is asked, once it has
read what is under way, what it has, and is sent what is missing.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from alcor.base.wire.alcor_pb2 import Hello
from alcor.base.wire.digest import INCOMPLETE, digest_bytes, interest_hash
from alcor.goal.state import Goal
from alcor.push import encode
from alcor.push.recent import Recent
from alcor.push.snapshots import Snapshot, Snapshots
from alcor.push.turn import Turn
from alcor.store.declare import Position


@dataclass(frozen=True)
class Limits:
    """The bounds of what push keeps for hosts."""

    queue_rows_max: int = 10_000  # waiting for one host
    queue_bytes_max: int = 4 << 20  # waiting for one host
    chunk_bytes_max: int = 256 << 10  # of one envelope
    recent_max: int = 200_000  # rows and positions that a host that was away may catch up from


@dataclass
class Counts:
    """What push counts of all sessions together."""

    snapshots: Counter[str] = field(default_factory=Counter)  # snapshots of scopes sent, by reason
    drops: Counter[str] = field(
        default_factory=Counter
    )  # times that a host was too slow, by the bound it met


@dataclass
class Present:
    """The state that all sessions are sent from."""

    goal: Goal
    recent: Recent
    snapshots: Snapshots
    position: Position
    counts: Counts


class Phase(Enum):
    """What may be sent on a stream."""

    ASKED = auto()  # nothing: the host is about to say hello
    LIVE = auto()  # every turn that concerns the host
    DROPPED = auto()  # only the question what it has: it was too slow
    CLOSED = auto()  # nothing ever: another stream of the host took over


class HostSession:
    """One stream. Made by `Publisher.open`; fed by the publisher, emptied by `take`."""

    def __init__(self, host: str, present: Present, limits: Limits, wake: Callable[[], None]) -> None:
        self.host = host
        self.phase = Phase.ASKED
        self.told: Position | None = None  # where the host stands once it has received everything that waits
        self.acked: Position | None = None
        self.failures: dict[tuple[str, str], str] = {}  # (scope, key) of rows that fail there -> reason
        self.is_inspectable = False  # its agent answers what it has
        self._present = present
        self._limits = limits
        self._wake = wake
        self._queue: deque[tuple[int, bytes]] = deque()  # (rows, envelope)
        self._queue_rows = 0
        self._queue_bytes = 0
        self._todo: dict[str, str] = {}  # scopes to be entered when the queue is empty, in order -> reason
        self._entering: tuple[Snapshot, int] | None = None  # the first of _todo, and its next chunk
        self._is_whole = False
        self._question: bytes | None = None
        self._sequence = 0

    @property
    def waiting(self) -> tuple[int, int]:
        """Rows and bytes that wait to be sent; snapshots of scopes still to be entered are not counted."""
        return self._queue_rows, self._queue_bytes

    @property
    def is_live(self) -> bool:
        """Whether turns are queued for the host."""
        return self.phase is Phase.LIVE

    @property
    def is_whole(self) -> bool:
        """Whether the host has been sent every scope that it needs."""
        return self.phase is Phase.LIVE and self._is_whole

    @property
    def is_answered(self) -> bool:
        """Whether the last hello was answered with all that the host lacks, so that another would be out of turn.

        What that answer has on its way is not in it: a host sent by both would hold old rows for a while as if new.
        """
        return self.phase in (Phase.LIVE, Phase.DROPPED)

    def hello(self, hello: Hello) -> None:
        """The host says what it has: queues what it lacks, or the question for digests where that cannot be told."""
        if self.phase is Phase.CLOSED:
            return
        self.is_inspectable = hello.inspects
        self._forget()
        needed = self._present.goal.interest.scopes(self.host)
        stands = encode.position_of(hello.position) if hello.HasField("position") else None
        is_covered = stands is not None and self._present.recent.covers(stands)
        held: dict[str, bytes | None]  # by scope; None: as it was where the host stands
        if hello.compared:
            held = {digest.scope: digest.digest for digest in hello.digests}
        elif stands is None:
            held = {}
        elif is_covered and hello.interest == interest_hash(needed):
            held = dict.fromkeys(needed)
        else:
            self.phase = Phase.ASKED
            self._put(encode.ASK)
            self._wake()
            return
        self._plan(needed, held, stands, is_covered=is_covered)

    def turn(self, turn: Turn, concern: "Concern") -> None:
        """Queues one turn: scopes entered, then rows, then scopes left. A host for which too much waits is dropped."""
        if self.phase is not Phase.LIVE:
            return
        assert self.told is not None
        for scope in concern.entered:
            self._enter(scope, turn.position)
        for rows, envelope in turn.deltas(self.told, tuple(concern.scopes)):
            self._put(envelope, rows)
        self._leave(concern.left, turn.position)
        self.told = turn.position
        if (bound := self._bound_met()) is not None:
            self._present.counts.drops[bound] += 1
            self._forget()
            self.phase = Phase.DROPPED
        self._wake()

    def move(self, position: Position) -> None:
        """Queues a mere new position: nothing that concerns the host has changed up to it."""
        if self.phase is Phase.LIVE:
            self._put(encode.delta(self.told, position))
            self.told = position
            self._wake()

    def inspect(self, question: bytes) -> None:
        """Sends an Inspect ahead of everything that waits; a newer one takes the place of one not sent yet."""
        self._question = question
        self._wake()

    def take(self, bytes_max: int) -> list[bytes]:
        """The next envelopes to be sent, in order, about `bytes_max` together; none if nothing waits."""
        taken: list[bytes] = []
        length = 0
        while length < bytes_max and (envelope := self._next_question() or self._next()) is not None:
            self._sequence += 1
            taken.append(encode.numbered(envelope, self._sequence))
            length += len(envelope)
        return taken

    def close(self) -> None:
        """Ends it: nothing more is taken or queued."""
        self._forget()
        self.phase = Phase.CLOSED
        self._wake()

    def _plan(
        self, needed: list[str], held: dict[str, bytes | None], stands: Position | None, *, is_covered: bool
    ) -> None:
        """Queues what brings a host that holds these scopes, by digest, to the present."""
        compiler, recent = self._present.goal.compiler, self._present.recent
        position = self._present.position
        since = stands.revision if is_covered and stands else None
        entered = set(recent.entered(self.host, since)) if since is not None else set()
        changed: list[tuple[str, list[str]]] = []
        for scope in needed:
            if scope not in held:
                self._todo[scope] = "missing"
            elif held[scope] == INCOMPLETE:
                self._todo[scope] = "incomplete"
            elif since is not None and scope not in entered:
                if keys := recent.changed(scope, since):
                    changed.append((scope, keys))
            elif held[scope] != digest_bytes(compiler.digest(scope)):
                self._todo[scope] = "different"
                # From here on the host knows that what it holds is not to be relied on.
                self._put(encode.enter(scope, position, b"", is_last=False))
        self.phase = Phase.LIVE
        self._is_whole = not self._todo
        turn = Turn.of_current(compiler, changed, position, self._limits.chunk_bytes_max)
        for rows, envelope in turn.deltas(
            stands, tuple(scope for scope, _ in changed), is_whole=self._is_whole
        ):
            self._put(envelope, rows)
        self._leave(sorted(held.keys() - set(needed)), position)
        self.told = position
        self._wake()

    def _enter(self, scope: str, position: Position) -> None:
        snapshot = self._present.snapshots.of(scope, position.revision)
        if snapshot.chunks > 1:
            self._todo[scope] = "needed"
            return
        self._present.counts.snapshots["needed"] += 1
        self._put(encode.enter(scope, position, snapshot.chunk(0), is_last=True), snapshot.rows_of(0))

    def _leave(self, scopes: Iterable[str], position: Position) -> None:
        for scope in scopes:
            if scope in self._todo:
                if self._entering and self._entering[0].scope == scope:
                    self._entering = None
                del self._todo[scope]
            self._put(encode.leave(scope, position))

    def _next_question(self) -> bytes | None:
        if self.phase is Phase.CLOSED:
            return None
        question, self._question = self._question, None
        return question

    def _next(self) -> bytes | None:
        if self.phase is Phase.DROPPED:
            self.phase = Phase.ASKED
            return encode.ASK
        if self._queue:
            rows, envelope = self._queue.popleft()
            self._queue_rows -= rows
            self._queue_bytes -= len(envelope)
            return envelope
        if self.phase is not Phase.LIVE:
            return None
        if self._todo:
            return self._next_chunk()
        if not self._is_whole:
            self._is_whole = True
            assert self.told is not None
            return encode.delta(self.told, self.told, is_whole=True)
        return None

    def _next_chunk(self) -> bytes:
        """The next chunk of the scopes to be entered. Only asked for when the host has been sent all that is older."""
        present = self._present
        assert self.told is not None
        if self._entering is None:
            snapshot = present.snapshots.of(next(iter(self._todo)), present.position.revision)
            self._entering = snapshot, 0
            present.counts.snapshots[self._todo[snapshot.scope]] += 1
            self._send_missed(snapshot)
        snapshot, chunk = self._entering
        is_last = chunk + 1 == snapshot.chunks
        if is_last:
            del self._todo[snapshot.scope]
        self._entering = None if is_last else (snapshot, chunk + 1)
        return encode.enter(snapshot.scope, self.told, snapshot.chunk(chunk), is_last=is_last)

    def _send_missed(self, snapshot: Snapshot) -> None:
        """Queues, for right after the first chunk, what changed since a shared snapshot was begun."""
        keys = self._present.snapshots.missed(snapshot)
        if keys:
            assert snapshot.chunks > 1, "a snapshot of one chunk is exact"
            assert self.told is not None
            changed = [(snapshot.scope, keys)]
            turn = Turn.of_current(
                self._present.goal.compiler, changed, self.told, self._limits.chunk_bytes_max
            )
            for rows, envelope in turn.deltas(self.told, (snapshot.scope,)):
                self._put(envelope, rows)

    def _put(self, envelope: bytes, rows: int = 0) -> None:
        self._queue.append((rows, envelope))
        self._queue_rows += rows
        self._queue_bytes += len(envelope)

    def _bound_met(self) -> str | None:
        if self._queue_rows > self._limits.queue_rows_max:
            return "rows"
        return "bytes" if self._queue_bytes > self._limits.queue_bytes_max else None

    def _forget(self) -> None:
        self._queue.clear()
        self._queue_rows = self._queue_bytes = 0
        self._todo.clear()
        self._entering = None
        self._is_whole = False


class Concern:
    """What of one turn concerns one host."""

    __slots__ = ("entered", "left", "scopes")

    def __init__(self) -> None:
        self.scopes: list[str] = []  # whose rows changed
        self.entered: list[str] = []
        self.left: list[str] = []
