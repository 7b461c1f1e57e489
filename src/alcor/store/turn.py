# SPDX-License-Identifier: Apache-2.0
"""One turn without its waiting: requests run over the tables, their writes as records, turns applied."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from alcor.base.errors import Refusal
from alcor.store.declare import Change, Position
from alcor.store.log.contract import Record, Turn
from alcor.store.plan import Write
from alcor.store.tables import Tables
from alcor.store.txn import Overlay
from alcor.store.waiting import Job

R = TypeVar("R")


@dataclass(frozen=True)
class Committed(Generic[R]):
    """A request's answer, the position at which it holds, and what the request changed."""

    value: R
    position: Position
    changes: tuple[Change, ...]


class _Ran(NamedTuple):
    job: Job
    value: object
    failure: Exception | None
    writes_end: int  # its writes are those between the end of the one before and this


class Round:
    """The requests that one turn runs, and what they write over the tables."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._overlay = Overlay(tables)
        self._ran: list[_Ran] = []
        self._records: list[Record] = []
        self._latest: dict[tuple[str, str], bytes | None] = {}  # rows as this turn leaves them
        self.expected = tables.position

    @property
    def writes(self) -> Sequence[Write]:
        """What all requests wrote, each request's together."""
        return self._overlay.writes

    @property
    def count(self) -> int:
        """How many requests it ran."""
        return len(self._ran)

    @property
    def jobs(self) -> list[Job]:
        """The requests in their order."""
        return [ran.job for ran in self._ran]

    def run(self, job: Job) -> None:
        """Runs one request; what it raises is its caller's, and leaves no trace."""
        mark = self._overlay.begin()
        value: object = None
        failure: Exception | None = None
        try:
            value = job.request(self._overlay)
            self._encode(mark, job.asked_by)
        except Exception as error:  # noqa: BLE001 - a Refusal, or a fault of this request alone: its caller gets it
            self._overlay.undo(mark)
            failure = error
        self._ran.append(_Ran(job, value, failure, len(self.writes)))

    def records(self) -> list[Record]:
        """The writes as the log keeps them."""
        return self._records

    def _encode(self, mark: int, asked_by: str) -> None:
        """Makes records of one request's writes: all of them, or none where something cannot be encoded."""
        records = []
        latest: dict[tuple[str, str], bytes | None] = {}
        for write in self.writes[mark:]:
            key = write.plan.name, write.id
            if write.old is None:
                old = None
            elif key in latest:
                old = latest[key]
            else:
                old = self._latest[key] if key in self._latest else self._tables.row(*key)
            row = None if write.new is None else write.plan.encode(write.new, write.old, old)
            latest[key] = row
            records.append(Record(*key, old, row, asked_by))
        self._records += records
        self._latest.update(latest)

    def apply(self, position: Position) -> list[Change]:
        """Takes the writes into the tables, which then stand at `position`."""
        self._tables.take(self._overlay.net(self._latest), position)
        return [
            Change(revision, record.table, record.id, write.old, write.new, record.request)
            for revision, (write, record) in enumerate(
                zip(self.writes, self._records, strict=True), self.expected.revision + 1
            )
        ]

    def resolve(self, position: Position, changes: Sequence[Change]) -> None:
        """Answers every caller that still waits."""
        start = 0
        for job, value, failure, end in self._ran:
            if not job.answer.done():
                if failure is not None:
                    job.answer.set_exception(failure)
                else:
                    job.answer.set_result(Committed(value, position, tuple(changes[start:end])))
            start = end

    def refuse(self, refusal: Refusal) -> None:
        """Refuses every caller that still waits."""
        for job in self.jobs:
            job.refuse(refusal)


def apply_turn(tables: Tables, turn: Turn) -> list[Change]:
    """Takes a turn that another process wrote. Records of tables that this process does not know are passed over."""
    before = turn.position.revision - len(turn.records)
    assert before == tables.revision, f"the log has a gap between {tables.revision} and {before}"
    overlay = Overlay(tables)
    rows: dict[tuple[str, str], bytes | None] = {}
    changes = []
    for revision, record in enumerate(turn.records, before + 1):
        plan = tables.plans.get(record.table)
        if plan is None:
            continue
        new = None if record.new is None else plan.decode(record.new)
        write = Write(plan, overlay.peek(plan.table, record.id), new)
        overlay.book(write)
        rows[record.table, record.id] = record.new
        changes.append(Change(revision, plan.name, record.id, write.old, new, record.request))
    tables.take(overlay.net(rows), turn.position)
    return changes
