# SPDX-License-Identifier: Apache-2.0
"""The async edge of the store: requests become turns, turns become commits, and commits reach tables and followers.

One turn at a time: take the pen, catch up, run what waits, append, and only then let anybody see it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from alcor.base import metrics
from alcor.base.clock import Clock
from alcor.base.config import Settings
from alcor.base.errors import Unavailable
from alcor.base.telemetry import Meters, log, log_warning, request_id
from alcor.store.declare import Change, Position, Schema
from alcor.store.log.contract import HeadMoved, Log, LogFault, OutcomeUnknown, Reset, Turn
from alcor.store.reader import Txn
from alcor.store.tables import Tables
from alcor.store.turn import Committed, Round, apply_turn
from alcor.store.waiting import Job, Waiting

__all__ = ["Committed", "Outside", "Random", "Store"]

R = TypeVar("R")

_TURN_REQUESTS_MAX = 2000  # in one turn, however fast they are
_LOOKS = 3  # for more requests before a commit: one that was sent is read, parsed and queued in as many steps
_RERUNS_MAX = 5  # of a turn that the log did not take
_RETRY_MS_MIN, _RETRY_MS_MAX = 5, 500  # between attempts to reach a log that is out of reach
_FOLLOW_RECORDS = 2000  # read from the log at once
_FAR_BEHIND = 2000  # records; who lacks more reads them before it takes the pen
_FOLLOW_FAST = 4  # times as often as usual is looked for records, for a second after others wrote
_TRIM_S = 60.0  # between looks for history that is too old
_TRIM_RECORDS = 2000  # forgotten in one commit
_EXPIRE_S = 0.1  # between looks for requests whose deadline has passed
_CLOSE_S = 5.0  # for a turn under way when the store is closed

_STOPPING = "This process is being stopped. Nothing was changed."
_BROKEN = "This process met a fault of its own and must be started again."
_UNKNOWN = "The log did not answer in time: the outcome is unknown. Read before you retry."


class Random(Protocol):
    """What the store asks of a source of randomness."""

    def getrandbits(self, bits: int, /) -> int:
        """A number of so many random bits."""


@dataclass(frozen=True)
class Outside:
    """Time, randomness and settings of the process, and where it counts."""

    clock: Clock
    random: Random
    settings: Settings = field(default_factory=Settings)
    meters: Meters = field(default_factory=Meters)


@dataclass(frozen=True, eq=False)
class _Follower:
    on_changes: Callable[[Sequence[Change], Position], None]
    on_reset: Callable[[Position], None] | None


class Store:
    """The only way to the state: `submit` to write, `caught_up` and `tables` to read, `subscribe` to follow."""

    def __init__(self, schema: Schema, log: Log, outside: Outside) -> None:
        self.tables = Tables(schema)
        self._log = log
        self._clock = outside.clock
        self._random = outside.random
        self._settings = outside.settings
        self._meters = outside.meters
        self._waiting = Waiting(outside.clock, outside.settings.turn_queue_max)
        self._followers: list[_Follower] = []
        self._writing = asyncio.Lock()  # held by whoever uses the pen; taken before `_applying`
        self._applying = asyncio.Lock()  # held by whoever moves the tables
        self._round: Round | None = None  # run, and not answered
        self._has_pen = False
        self._was_shared = False  # by several requests: the last turn
        self._readers: list[asyncio.Future[Position]] = []
        self._reader_came = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._foreign_until_s = 0.0  # when others last wrote, and a second
        self._is_reached = True
        self._stopping = ""

    @classmethod
    async def open(cls, schema: Schema, log: Log, outside: Outside) -> Store:
        """A store that has loaded the log and follows it. Raises Unavailable."""
        store = cls(schema, log, outside)
        await store.start()
        return store

    async def start(self) -> None:
        """Loads and begins to serve. Raises Unavailable."""
        try:
            await self._log.open()
            await self._load()
        except LogFault as fault:
            await self._log.close()
            raise Unavailable(str(fault)) from fault
        loops = (self._write(), self._check(), self._poll(), self._expire(), self._trim())
        self._tasks = [asyncio.create_task(self._watched(loop)) for loop in loops]

    async def close(self) -> None:
        """Ends after the turn that is under way, if it ends soon; refuses what waits."""
        self._end(_STOPPING)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S), self._writing, self._applying:
                self._cancel()
        self._cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._round is not None:
            self._round.refuse(Unavailable(_UNKNOWN))
        self._end(_STOPPING)
        await self._log.close()

    async def stopped(self) -> None:
        """Returns when the store was closed; raises the fault that broke it."""
        ended, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in ended:
            if not task.cancelled():
                task.result()

    async def submit(
        self, request: Callable[[Txn], R], tenant: str = "", deadline_s: float | None = None
    ) -> Committed[R]:
        """Runs `request` in a turn and answers when its changes are durable and applied.

        It may run more than once, so it has no effect but through its Txn. Raises what it raises, and Unavailable:
        nothing was changed then, unless the message says that the outcome is unknown. `deadline_s` is from this call.
        """
        answer: asyncio.Future[Committed[R]] = asyncio.get_running_loop().create_future()
        within_s = self._settings.request_timeout_s if deadline_s is None else deadline_s
        job = Job(request, answer, self._clock.monotonic_s() + within_s, asked_by=request_id.get())
        self._waiting.add(tenant, job)
        return await answer

    async def caught_up(self) -> Position:
        """Waits until the tables are at least where the log was at this call. Raises Unavailable."""
        if self._stopping:
            raise Unavailable(self._stopping)
        reader: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._readers.append(reader)
        self._reader_came.set()
        return await reader

    def subscribe(
        self,
        on_changes: Callable[[Sequence[Change], Position], None],
        on_reset: Callable[[Position], None] | None = None,
    ) -> Callable[[], None]:
        """Follows from the tables' present position on; answers what ends it. No callback may raise or take long.

        `on_changes` is called after each applied turn, in the order of the log, whichever process wrote it; `on_reset`
        after everything was loaded anew.
        """
        follower = _Follower(on_changes, on_reset)
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _watched(self, loop: Coroutine[None, None, None]) -> None:
        try:
            await loop
        except Exception:
            self._end(_BROKEN)
            raise

    def _end(self, why: str) -> None:
        self._stopping = why
        self._waiting.close(Unavailable(why))
        for reader in self._readers:
            if not reader.done():
                reader.set_exception(Unavailable(why))
        self._readers.clear()
        if self._round is not None and why is _BROKEN:
            self._round.refuse(Unavailable(f"{why} The outcome of this request is unknown."))

    # Writing.

    async def _write(self) -> None:
        while True:
            await self._waiting.came.wait()
            async with self._writing:
                await self._turn()
            await asyncio.sleep(0)  # those just answered come back before the next turn admits

    async def _turn(self) -> None:
        try:
            head = await self._log.take_pen(self._settings.pen_wait_s)
            self._has_pen = True
            begin_s = self._clock.monotonic_s()
            if head.revision - self.tables.revision > _FAR_BEHIND:
                await self._drop_pen()  # others need not wait while this process reads
            async with self._applying:
                if head != self.tables.position and not await self._follow():
                    await self._drop_pen()
                    await self._load()
                elif self._has_pen:
                    await self._run_turn()
                    self._meters.histogram(metrics.TURN_SECONDS).observe(self._clock.monotonic_s() - begin_s)
        except LogFault as fault:
            self._count_failure(fault)
            self._waiting.refuse(Unavailable(f"{fault} Nothing was changed."))
        finally:
            if self._has_pen:
                with suppress(LogFault):  # the log itself drops the pen of a connection that it lost
                    await self._drop_pen()

    async def _drop_pen(self) -> None:
        self._has_pen = False
        await self._log.drop_pen()

    async def _run_turn(self) -> None:
        turn = self._round = Round(self.tables)
        now_s = self._clock.monotonic_s()
        end_s, slice_s = now_s + self._settings.turn_ms_max / 1000, self._settings.slice_ms_max / 1000
        pause_s = short_s = now_s + slice_s
        while now_s < end_s and turn.count < _TURN_REQUESTS_MAX:
            job = self._waiting.next()
            if job is None and now_s < short_s:
                job = await self._coming()
            if job is None:
                break
            turn.run(job)
            now_s = self._clock.monotonic_s()
            if now_s >= pause_s:
                await asyncio.sleep(
                    0
                )  # the loop goes on between requests; the tables stay, for `_applying` is held
                pause_s = self._clock.monotonic_s() + slice_s
        self._was_shared = turn.count > 1
        self._meters.histogram(metrics.TURN_REQUESTS).observe(turn.count)
        try:
            await self._commit(turn)
        except LogFault as fault:
            self._count_failure(fault)
            turn.refuse(Unavailable(f"{fault} Nothing was changed."))
        self._round = None

    async def _coming(self) -> Job | None:
        """A request that comes while the commit waits for it, a moment, if the turn before was shared as well.

        For short turns only: of long ones the commit is the smaller part, and the next is read and parsed meanwhile.
        """
        for _ in range(_LOOKS if self._was_shared else 0):
            await asyncio.sleep(0)
            if (job := self._waiting.next()) is not None:
                return job
        return None

    async def _commit(self, turn: Round) -> None:
        if not turn.writes:
            await self._drop_pen()
            turn.resolve(turn.expected, ())
            return
        records = turn.records()
        position = Position(turn.expected.revision + len(records), f"{self._random.getrandbits(128):032x}")
        self._has_pen = False  # an append ends with it, whatever becomes of it
        try:
            await self._log.append(turn.expected, Turn(position, self._clock.now_s(), records))
        except HeadMoved as fault:
            self._count_failure(fault)
            self._run_again(turn)
            return
        except OutcomeUnknown as fault:
            self._count_failure(fault)
            if not await self._is_committed(position.turn, turn.expected):
                self._run_again(turn)
                return
        changes = turn.apply(position)
        turn.resolve(position, changes)
        self._meters.counter(metrics.TURNS).inc()
        self._meters.histogram(metrics.TURN_RECORDS).observe(len(records))
        self._tell(changes)

    def _run_again(self, turn: Round) -> None:
        for job in turn.jobs:
            job.reruns += 1
            if job.reruns > _RERUNS_MAX:
                job.refuse(
                    Unavailable("The log takes no turn, however often it is run. Nothing was changed.")
                )
        self._waiting.put_back(turn.jobs)

    async def _is_committed(self, turn_id: str, expected: Position) -> bool:
        """Finds out what became of a commit. Until then nobody is answered, but by `_expire`."""
        wait_ms = _RETRY_MS_MIN
        while True:
            try:
                # With the pen on a new connection nothing of the old one can be committed any more.
                await self._log.take_pen(self._settings.pen_wait_s)
                self._has_pen = True
                found = await self._log.find_turn(turn_id, expected)
                await self._drop_pen()
            except LogFault as fault:
                self._count_failure(fault)
                await asyncio.sleep(wait_ms / 1000)
                wait_ms = min(2 * wait_ms, _RETRY_MS_MAX)
            else:
                return found is not None

    def _count_failure(self, fault: Exception) -> None:
        reason = type(fault).__name__
        self._meters.counter(metrics.TURN_FAILURES, reason).inc()
        log_warning("turn failed", reason=reason, fault=str(fault))

    def _tell(self, changes: Sequence[Change]) -> None:
        self._meters.gauge(metrics.LOG_REVISION).set(self.tables.revision)
        for follower in self._followers:
            follower.on_changes(changes, self.tables.position)

    # Following.

    async def _follow(self) -> bool:
        """Applies what others have written. False if the tables must be loaded anew."""
        while True:
            tail = await self._log.follow(self.tables.position, _FOLLOW_RECORDS)
            if isinstance(tail, Reset):
                log_warning("log is another one", head=tail.head.revision, applied=self.tables.revision)
                return False
            if not tail:
                return True
            for turn in tail:
                self._tell(apply_turn(self.tables, turn))
                await asyncio.sleep(0)
            self._foreign_until_s = self._clock.monotonic_s() + 1

    async def _load(self) -> None:
        loading = self.tables.loading()
        gc.disable()  # nothing that is loaded is garbage, and to look for some costs as much as to load
        try:
            position = await self._log.load(loading.add)
        finally:
            gc.enable()
        loading.finish(position)
        gc.freeze()
        log("log loaded", revision=position.revision)
        self._meters.gauge(metrics.LOG_REVISION).set(position.revision)
        if self._tasks:
            self._meters.counter(metrics.LOG_RELOADS).inc()
        for follower in self._followers:
            if follower.on_reset is not None:
                follower.on_reset(position)

    async def _check(self) -> None:
        while True:
            await self._reader_came.wait()
            self._reader_came.clear()
            readers, self._readers = self._readers, []
            try:
                await self._catch_up()
            except LogFault as fault:
                for reader in readers:
                    if not reader.done():
                        reader.set_exception(Unavailable(str(fault)))
                continue
            for reader in readers:
                if not reader.done():
                    reader.set_result(self.tables.position)

    async def _catch_up(self) -> None:
        head = await self._log.head()
        self._meters.gauge(metrics.LOG_LAG).set(max(0, head.revision - self.tables.revision))
        if head == self.tables.position:
            return
        async with self._applying:
            # Where the head was a turn of this process, it is applied by now.
            if head != self.tables.position and not await self._follow():
                await self._load()

    async def _poll(self) -> None:
        while True:
            is_busy = self._clock.monotonic_s() < self._foreign_until_s
            await asyncio.sleep(self._settings.follow_ms / 1000 / (_FOLLOW_FAST if is_busy else 1))
            try:
                await self.caught_up()
            except Unavailable as refusal:
                if self._is_reached:
                    log_warning("log is out of reach", fault=refusal.message)
                self._is_reached = False
                await asyncio.sleep(_RETRY_MS_MAX / 1000)
            else:
                self._is_reached = True

    # Limits.

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRE_S)
            now_s = self._clock.monotonic_s()
            self._waiting.expire(now_s)
            for job in self._round.jobs if self._round is not None else ():
                if job.deadline_s <= now_s:
                    job.refuse(Unavailable(_UNKNOWN))

    async def _trim(self) -> None:
        while True:
            await asyncio.sleep(_TRIM_S)
            before_s = self._clock.now_s() - self._settings.history_s
            try:
                await self._trim_all(before_s)
            except LogFault:
                continue  # tried again at the next interval

    async def _trim_all(self, before_s: float) -> None:
        removed = _TRIM_RECORDS
        while removed >= _TRIM_RECORDS:
            async with self._writing:
                removed = await self._log.trim(before_s, _TRIM_RECORDS)
            await asyncio.sleep(0.05)  # turns go on between
