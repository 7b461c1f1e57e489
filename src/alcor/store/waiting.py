# SPDX-License-Identifier: Apache-2.0
"""The requests that wait for a turn: bounded, and taken from tenant after tenant."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from alcor.base.clock import Clock
from alcor.base.errors import Refusal, Unavailable
from alcor.store.reader import Txn


@dataclass(eq=False, slots=True)
class Job:
    """One request and whom to answer."""

    request: Callable[[Txn], Any]
    answer: asyncio.Future[Any]
    deadline_s: float  # monotonic
    reruns: int = 0  # turns with it that the log did not take
    tenant: str = ""
    asked_by: str = ""  # id of the REST request

    def refuse(self, refusal: Refusal) -> None:
        """Answers with a refusal, unless it was answered before or nobody waits any more."""
        if not self.answer.done():
            self.answer.set_exception(refusal)


class Waiting:
    """A queue per tenant, served in rotation."""

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._queues: OrderedDict[str, deque[Job]] = OrderedDict()
        self._count = 0
        self.came = asyncio.Event()  # set while any waits
        self._closed: Refusal | None = None

    def add(self, tenant: str, job: Job) -> None:
        """Takes a request. Raises Unavailable if too many wait."""
        if self._closed is not None:
            raise self._closed
        if self._count >= self._limit:
            raise Unavailable(f"{self._count} requests already wait to be written: try again later.")
        job.tenant = tenant
        self._queue(tenant).append(job)
        self._count += 1
        self.came.set()

    def put_back(self, jobs: Iterable[Job]) -> None:
        """Takes requests that have to run again, in their order, before all others of their tenants."""
        for job in reversed(list(jobs)):
            if not job.answer.done():
                self._queue(job.tenant).appendleft(job)
                self._count += 1
        if self._count:
            self.came.set()

    def next(self) -> Job | None:
        """The next request whose caller still waits, of the tenant whose turn it is; None if there is none."""
        while self._queues:
            tenant, queue = next(iter(self._queues.items()))
            job = queue.popleft()
            self._count -= 1
            if queue:
                self._queues.move_to_end(tenant)
            else:
                del self._queues[tenant]
            if job.answer.done():
                continue
            if job.deadline_s <= self._clock.monotonic_s():
                job.refuse(_late())
                continue
            return job
        self.came.clear()
        return None

    def close(self, refusal: Refusal) -> None:
        """Answers all that wait, and all that come, with a refusal."""
        self._closed = refusal
        self.refuse(refusal)

    def refuse(self, refusal: Refusal) -> None:
        """Answers all that wait with a refusal."""
        for queue in self._queues.values():
            for job in queue:
                job.refuse(refusal)
        self._queues.clear()
        self._count = 0
        self.came.clear()

    def expire(self, now_s: float) -> None:
        """Answers those whose deadline has passed; they are dropped when their turn comes."""
        for queue in self._queues.values():
            for job in queue:
                if job.deadline_s <= now_s:
                    job.refuse(_late())

    def _queue(self, tenant: str) -> deque[Job]:
        queue = self._queues.get(tenant)
        if queue is None:
            queue = self._queues[tenant] = deque()
        return queue


def _late() -> Refusal:
    return Unavailable("The log could not be written in time. Nothing was changed.")
