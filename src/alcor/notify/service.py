# SPDX-License-Identifier: Apache-2.0
"""Follows the log from a cursor on disk and tells Nova, at least once and in the order of the log.

What a change means is declared by features; here it is only delivered.
"""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from alcor.base.clock import utc_text
from alcor.base.errors import Unavailable
from alcor.base.metrics import NOTICES, NOTIFY_LAG
from alcor.base.telemetry import log, log_warning
from alcor.notify.ledger import Failed, Ledger, Told
from alcor.notify.nova import NotTold, Refused
from alcor.resource.declare import Notice, RestFeature
from alcor.store.declare import Change, Position
from alcor.store.log.contract import Log, LogFault, Reset, Turn
from alcor.store.store import Outside, Store

LEDGER_FILE = "notify.json"  # in the state folder
_RECORDS = 2_000  # read from the log at once
_LOOK_S = 0.05  # between looks for new records
_WAIT_S_MIN, _WAIT_S_MAX = 0.1, 10.0  # between attempts


class Receiver(Protocol):
    """The other system."""

    async def tell(self, notices: Sequence[Notice]) -> int:
        """How many need not be told. Raises NotTold, Refused: then none was."""


class Notifier:
    """One follower. `log` is for its own reading: where it is, the store need not be."""

    def __init__(
        self, source: tuple[Store, Log], features: Sequence[RestFeature], receiver: Receiver, outside: Outside
    ) -> None:
        self._store, self._log = source
        self._notices = [feature.notices for feature in features if feature.notices]
        self._receiver = receiver
        self._settings = outside.settings
        self._clock = outside.clock
        self._meters = outside.meters
        self._ledger = Ledger(Path(outside.settings.state) / LEDGER_FILE)

    async def run(self) -> None:
        """Tells until cancelled; waits while another process does. Raises OSError, ValueError for the ledger's file."""
        try:
            for _ in iter(self._ledger.take, True):
                await asyncio.sleep(_LOOK_S)
            told = self._ledger.read() or self._from(self._store.tables.position)
            self._ledger.write(told)
            log("notifying", revision=told.revision)
            while True:
                told = await self._step(told)
        finally:
            self._ledger.close()

    def _from(self, position: Position, told: Told | None = None) -> Told:
        if told is None:
            return Told(position.revision, position.turn)
        return Told(position.revision, position.turn, told.delivered, told.failed_count, told.failed)

    async def _step(self, told: Told) -> Told:
        try:
            await self._store.caught_up()  # what is read beside a change is at least as new as it
            tail = await self._log.follow(Position(told.revision, told.turn), _RECORDS)
        except (Unavailable, LogFault) as wrong:
            log_warning("notifying waits for the log", why=str(wrong))
            await asyncio.sleep(_WAIT_S_MAX)
            return told
        self._meters.gauge(NOTIFY_LAG).set(max(0, self._store.tables.position.revision - told.revision))
        if isinstance(tail, Reset):
            log_warning("history is gone: not told", after=told.revision, up_to=tail.head.revision)
            self._meters.counter(NOTICES, "skipped").inc()
            told = self._from(tail.head, told)
        elif tail:
            told = await self._told(told, [notice for turn in tail for notice in self._of(turn)])
            told = self._from(tail[-1].position, told)
        else:
            await asyncio.sleep(_LOOK_S)
            return told
        try:
            self._ledger.write(told)
        except OSError as wrong:  # after a restart it is told again
            log_warning("the notifier's place is not written", why=str(wrong))
        return told

    def _of(self, turn: Turn) -> Iterator[Notice]:
        plans = self._store.tables.plans
        first = turn.position.revision - len(turn.records) + 1
        for revision, record in enumerate(turn.records, first):
            if plan := plans.get(record.table):
                old, new = (None if row is None else plan.decode(row) for row in (record.old, record.new))
                change = Change(revision, record.table, record.id, old, new, record.request)
                for notices in self._notices:
                    yield from notices(self._store.tables, change)

    async def _told(self, told: Told, notices: Sequence[Notice]) -> Told:
        most = self._settings.notify_batch_max
        failed: list[Failed] = []
        for start in range(0, len(notices), most):
            failed += await self._given_up(notices[start : start + most])
        kept = (*told.failed, *failed)[-self._settings.notify_failed_max :]
        delivered = told.delivered + len(notices) - len(failed)
        return Told(told.revision, told.turn, delivered, told.failed_count + len(failed), kept)

    async def _given_up(self, batch: Sequence[Notice]) -> list[Failed]:
        """Tells them; those that were given up."""
        try:
            unknown = await self._taken(batch)
        except Refused as wrong:
            if len(batch) > 1:  # one that Nova does not take holds up none of the others
                half = len(batch) // 2
                return await self._given_up(batch[:half]) + await self._given_up(batch[half:])
            why = str(wrong)
        except NotTold as wrong:
            why = str(wrong)
        else:
            self._meters.counter(NOTICES, "delivered").inc(len(batch) - unknown)
            self._meters.counter(NOTICES, "unknown").inc(unknown)
            return []
        self._meters.counter(NOTICES, "undeliverable").inc(len(batch))
        log_warning("notices given up", notices=len(batch), why=why)
        return [Failed(notice, why, utc_text(self._clock.now_s())) for notice in batch]

    async def _taken(self, batch: Sequence[Notice]) -> int:
        """Tries again for a while. How many need not have been told. Raises NotTold, Refused."""
        end_s, wait_s = self._clock.monotonic_s() + self._settings.notify_retry_s, _WAIT_S_MIN
        while True:
            try:
                return await self._receiver.tell(batch)
            except NotTold as wrong:
                if self._clock.monotonic_s() >= end_s:
                    raise
                self._meters.counter(NOTICES, "retried").inc(len(batch))
                log_warning("notices wait", notices=len(batch), why=str(wrong))
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, _WAIT_S_MAX)
