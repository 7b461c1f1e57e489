# SPDX-License-Identifier: Apache-2.0
"""The async edge of the store: requests become turns, turns become commits, and commits reach tables and followers.

One turn at a time: take the pen, catch up, run what waits, append, and only then let anybody see it.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from alcor.base.clock import Clock
from alcor.base.errors import Unavailable
from alcor.store.declare import Change, Position, Schema
from alcor.store.log.contract import HeadMoved, Log, LogFault, OutcomeUnknown, Record, Reset, Turn
from alcor.store.plan import Write
from alcor.store.reader import Txn
from alcor.store.settings import StoreSettings
from alcor.store.tables import Tables
from alcor.store.txn import Overlay
from alcor.store.waiting import Job, Waiting

R = TypeVar("R")


class Random(Protocol):
    """What the store asks of a source of randomness."""

    def getrandbits(self, bits: int, /) -> int:
        """A number of so many random bits."""


@dataclass(frozen=True)
class Committed(Generic[R]):
    """A request's answer, the position at which it holds, and what the request changed."""

    value: R
    position: Position
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Follower:
    """Called in log order after each applied turn; and after everything was loaded anew."""

    on_changes: Callable[[Sequence[Change], Position], None]
    on_reset: Callable[[Position], None] | None = None


class _Round:
    """The requests that one turn ran, and what they wrote."""

    def __init__(self, tables: Tables) -> None:
        self.overlay = Overlay(tables)
        self.ran: list[
            tuple[Job, object, BaseException | None, int]
        ] = []  # job, value, refusal, end in the writes

    def take(self, job: Job) -> None:
        child = Overlay(self.overlay)
        value: object = None
        failure: BaseException | None = None
        try:
            value = job.request(child)
        except Exception as error:  # noqa: BLE001  # it is the caller's: a Refusal, or a fault of this request alone
            failure = error
        else:
            self.overlay.merge(child)
        self.ran.append((job, value, failure, len(self.overlay.writes)))

    def resolve(self, position: Position, changes: Sequence[Change]) -> None:
        start = 0
        for job, value, failure, end in self.ran:
            if not job.answer.done():
                if failure is not None:
                    job.answer.set_exception(failure)
                else:
                    job.answer.set_result(Committed(value, position, tuple(changes[start:end])))
            start = end

    def jobs(self) -> list[Job]:
        return [job for job, *_ in self.ran]


class Store:
    """The only way to the state: `submit` to write, `caught_up` and `tables` to read, `subscribe` to follow."""

    def __init__(
        self, schema: Schema, log: Log, clock: Clock, random: Random, settings: StoreSettings | None = None
    ) -> None:
        self.tables = Tables(schema)
        self.settings = settings or StoreSettings()
        self._log = log
        self._clock = clock
        self._random = random
        self._waiting = Waiting(clock, self.settings.waiting_max)
        self._followers: list[Follower] = []
        self._applying = asyncio.Lock()  # held by whoever moves the tables
        self._round: _Round | None = None  # sent to the log, not answered
        self._readers: list[asyncio.Future[Position]] = []
        self._reader_came = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._foreign_until_s = 0.0

    @classmethod
    async def open(
        cls, schema: Schema, log: Log, clock: Clock, random: Random, settings: StoreSettings | None = None
    ) -> Store:
        """A store that has loaded the log and follows it. Raises Unavailable."""
        store = cls(schema, log, clock, random, settings)
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
        loops = (self._write, self._check, self._poll, self._expire, self._trim)
        self._tasks = [asyncio.create_task(loop(), name=f"store{loop.__name__}") for loop in loops]

    async def close(self) -> None:
        """Ends after the turn that is under way; refuses what waits."""
        self._waiting.refuse(Unavailable("This process is being stopped; nothing was changed."), forever=True)
        async with self._applying:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for reader in self._readers:
            if not reader.done():
                reader.set_exception(Unavailable("This process is being stopped."))
        await self._log.close()

    async def stopped(self) -> None:
        """Returns when the store was closed; raises what broke it."""
        for task in asyncio.as_completed(self._tasks):
            with suppress(asyncio.CancelledError):
                await task

    async def submit(
        self, request: Callable[[Txn], R], tenant: str = "", deadline_s: float | None = None
    ) -> Committed[R]:
        """Runs `request` in a turn and answers when its changes are durable and applied.

        It may run more than once, so it has no effect but through its Txn. Raises what it raises, and Unavailable:
        nothing was changed then, unless the message says that the outcome is unknown. `deadline_s` is from this call.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Committed[R]] = loop.create_future()
        within_s = self.settings.answer_s if deadline_s is None else deadline_s
        self._waiting.add(tenant, Job(request, answer, self._clock.monotonic_s() + within_s))
        return await answer

    async def caught_up(self) -> Position:
        """Waits until the tables are at least where the log was at this call. Raises Unavailable."""
        reader: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._readers.append(reader)
        self._reader_came.set()
        return await reader

    def subscribe(
        self,
        on_changes: Callable[[Sequence[Change], Position], None],
        on_reset: Callable[[Position], None] | None = None,
    ) -> Callable[[], None]:
        """Follows from the tables' present position on. Answers what ends it. Neither callback may raise or wait."""
        follower = Follower(on_changes, on_reset)
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    async def _write(self) -> None:
        while True:
            await self._waiting.some()
            await self._turn()
            await asyncio.sleep(0)  # those just answered come back before the next turn admits

    async def _turn(self) -> None:
        try:
            head = await self._log.take_pen(self.settings.pen_wait_s)
            async with self._applying:
                if head != self.tables.position and not await self._follow():
                    await self._log.drop_pen()
                    await self._load()
                    return
                await self._run_turn()
        except LogFault as fault:
            self._waiting.refuse(Unavailable(f"{fault} Nothing was changed."))

    async def _run_turn(self) -> None:
        expected = self.tables.position
        run = self._round = _Round(self.tables)
        end_s = self._clock.monotonic_s() + self.settings.turn_ms_max / 1000
        while (job := self._waiting.next()) is not None:
            run.take(job)
            if len(run.ran) >= self.settings.turn_requests_max or self._clock.monotonic_s() >= end_s:
                break
        writes = run.overlay.writes
        try:
            if not writes:
                await self._log.drop_pen()
                run.resolve(expected, ())
                return
            await self._commit(run, expected)
        except LogFault as fault:
            refusal = Unavailable(f"{fault} Nothing was changed.")
            for job in run.jobs():
                job.refuse(refusal)
        finally:
            self._round = None

    async def _commit(self, run: _Round, expected: Position) -> None:
        records = self._records(run.overlay.writes)
        position = Position(expected.revision + len(records), f"{self._random.getrandbits(128):032x}")
        try:
            await self._log.append(expected, Turn(position, self._clock.now_s(), records))
        except HeadMoved:
            self._again(run)
            return
        except OutcomeUnknown:
            if not await self._find_out(position.turn, expected):
                self._again(run)
                return
        changes = self._take(run.overlay.writes, expected.revision, position)
        run.resolve(position, changes)
        self._tell(changes, position)

    def _again(self, run: _Round) -> None:
        for job in run.jobs():
            job.runs += 1
            if job.runs > self.settings.rerun_max:
                job.refuse(
                    Unavailable(
                        "The log did not take this turn, however often it was run. Nothing was changed."
                    )
                )
        self._waiting.put_back(run.jobs())

    async def _find_out(self, turn_id: str, expected: Position) -> bool:
        wait_s = self.settings.poll_ms_min / 1000
        while True:
            try:
                await self._log.take_pen(self.settings.pen_wait_s)
                found = await self._log.find_turn(turn_id, expected)
                await self._log.drop_pen()
            except LogFault:
                # Until it is known nobody is answered, but by `_expire`.
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, self.settings.retry_ms_max / 1000)
            else:
                return found is not None

    def _records(self, writes: Sequence[Write]) -> list[Record]:
        records = []
        latest: dict[tuple[str, str], bytes | None] = {}
        for write in writes:
            key = write.plan.name, write.id
            old = latest[key] if key in latest else self.tables.row(*key)
            write.row = None if write.new is None else write.plan.encode(write.new, write.old, old)
            latest[key] = write.row
            records.append(Record(*key, old, write.row))
        return records

    def _take(self, writes: Sequence[Write], revision: int, position: Position) -> list[Change]:
        changes = []
        for write in writes:
            revision += 1
            self.tables.take(write)
            changes.append(Change(revision, write.plan.name, write.id, write.old, write.new))
        self.tables.position = position
        return changes

    def _tell(self, changes: Sequence[Change], position: Position) -> None:
        for follower in self._followers:
            follower.on_changes(changes, position)

    async def _follow(self) -> bool:
        """Applies what others have written. False if the tables must be loaded anew."""
        while True:
            tail = await self._log.follow(self.tables.position, self.settings.follow_records_max)
            if isinstance(tail, Reset):
                return False
            if not tail:
                return True
            for turn in tail:
                self._apply_foreign(turn)
                await asyncio.sleep(0)
            self._foreign_until_s = self._clock.monotonic_s() + 1

    def _apply_foreign(self, turn: Turn) -> None:
        revision = turn.position.revision - len(turn.records)
        assert revision == self.tables.revision, f"the log has a gap after {self.tables.revision}"
        changes = []
        for record in turn.records:
            revision += 1
            plan = self.tables.plans.get(record.table)
            if plan is None:
                continue  # a table of a newer version
            new = None if record.new is None else plan.decode(record.new)
            write = Write(plan, self.tables.peek(plan.table, record.id), new)
            write.row = record.new
            self.tables.take(write)
            changes.append(Change(revision, plan.name, record.id, write.old, new))
        self.tables.position = turn.position
        self._tell(changes, turn.position)

    async def _load(self) -> None:
        loading = self.tables.loading()
        gc.disable()  # nothing that is loaded is garbage, and each look at it would cost as much as loading it
        try:
            position = await self._log.load(loading.add)
        finally:
            gc.enable()
        loading.finish(position)
        gc.freeze()
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
            else:
                for reader in readers:
                    if not reader.done():
                        reader.set_result(self.tables.position)

    async def _catch_up(self) -> None:
        if await self._log.head() == self.tables.position:
            return
        async with self._applying:
            # A turn of one's own may have been committed and applied meanwhile.
            if not await self._follow():
                await self._load()

    async def _poll(self) -> None:
        settings = self.settings
        while True:
            is_busy = self._clock.monotonic_s() < self._foreign_until_s
            await asyncio.sleep((settings.poll_ms_min if is_busy else settings.poll_ms_max) / 1000)
            try:
                await self.caught_up()
            except Unavailable:
                await asyncio.sleep(settings.retry_ms_max / 1000)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            now_s = self._clock.monotonic_s()
            self._waiting.expire(now_s)
            if self._round is None:
                continue
            for job in self._round.jobs():
                if job.deadline_s <= now_s:
                    job.refuse(
                        Unavailable(
                            "The log did not answer in time: the outcome is unknown. Read before you retry."
                        )
                    )

    async def _trim(self) -> None:
        while True:
            await asyncio.sleep(self.settings.trim_interval_s)
            before_s = self._clock.now_s() - self.settings.history_s
            try:
                await self._trim_all(before_s)
            except LogFault:
                continue  # tried again at the next interval

    async def _trim_all(self, before_s: float) -> None:
        removed = limit = self.settings.trim_records_max
        while removed == limit:
            async with self._applying:
                removed = await self._log.trim(before_s, limit)
            await asyncio.sleep(0.05)  # turns go on between
