# SPDX-License-Identifier: Apache-2.0
"""The embedded log: one SQLite file in WAL mode, durable at every commit, shared by the processes of one machine.

The pen is SQLite's own write lock, so any program may write the file, and none can do so at the same time.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeVar, cast

import apsw
import msgspec

from alcor.store.declare import Position
from alcor.store.log.contract import HeadMoved, LogFault, OutcomeUnknown, PenHeld, Record, Reset, Turn
from alcor.store.log.sqlite_file import Connector, pen_holder, reason
from alcor.store.tables import Slice

R = TypeVar("R")

_unpack = msgspec.msgpack.Decoder().decode

_POLL_S = 0.0005  # between attempts to take SQLite's lock
_LINE_S = 0.1  # a process at the head of the line that does not move is passed after this
_LOAD_ROWS = 500  # in one slice of a load: a few milliseconds
_READ_ROWS = (
    4_000  # put together at once: long enough for the thread to wait for the interpreter, and be done in time
)
_LOAD_MAP_BYTES = 2**31  # of the file that a load maps: half the time of reading page by page
# Ids and rows by turns, as elements of one MessagePack array: SQLite puts them together while the interpreter goes on.
_READ = """
SELECT count(*), CAST(group_concat(
    iif(octet_length(id) = 36, x'D924', unhex(printf('DB%08X', octet_length(id)))) || id
    || unhex(printf('C6%08X', length(value))) || value, '') AS BLOB)
FROM (SELECT id, value FROM objects WHERE kind = ? AND id > ? ORDER BY id LIMIT ?)
"""
_WAL_PAGES = 8192  # of 4 KiB, in the write-ahead log, before they are written back
_KEEPS_MAX = 4  # rounds of that, each shorter than the one before
_BATCHES = (256, 32, 4, 1)  # rows of one statement: each step lets the interpreter go only once


_PUT = (
    "INSERT INTO objects VALUES ",
    "(?,?,?)",
    # In place: only the page with the object changes, and no index.
    " ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value",
)
_NOTE = ("INSERT INTO history VALUES ", "(?,?,?,?,?,?,?,?)", "")


class _Hand:
    """A thread with a connection of its own. Everything that waits for the disk is done by one."""

    def __init__(self, path: Path, name: str) -> None:
        self.connector = Connector(path)
        self._path = path
        self._name = name
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._working = Lock()

    def do(self, work: Callable[[], R]) -> asyncio.Future[R]:
        """What `work` answers, done by the thread in the order asked. Raises LogFault where SQLite does not answer."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._asked.put((work, answer))
        return answer

    def do_at_once(self, work: Callable[[apsw.Connection], R | None]) -> R | None:
        """What `work` answers, done here, for a wait of the loop costs more than what never waits for the disk.

        None where the thread is at work, where the file is not open yet, or was replaced, or SQLite does not answer.
        """
        if not self._working.acquire(blocking=False):
            return None
        try:
            connection = self.connector.opened()
            return None if connection is None else work(connection)
        except (apsw.Error, OSError):
            return None  # the thread will say what is wrong, if it still is
        finally:
            self._working.release()

    async def close(self) -> None:
        """Ends after what was asked before."""
        if self._thread is not None:
            await self.do(self.connector.close)
            self._asked.put(None)
            self._thread = None

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            work, answer = asked
            result, fault = None, None
            with self._working:
                try:
                    result = self._answer(work)
                except BaseException as error:  # noqa: BLE001 - whatever it is, it is the asker's
                    fault = error
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                answer.get_loop().call_soon_threadsafe(_settle, answer, result, fault)

    def _answer(self, work: Callable[[], R]) -> R:
        try:
            return work()
        except (apsw.CorruptError, apsw.NotADBError, apsw.IOError, apsw.CantOpenError) as error:
            self.connector.drop()  # what it has read may be what is wrong
            raise LogFault(reason(self._path, error)) from error
        except (apsw.Error, OSError) as error:
            raise LogFault(reason(self._path, error)) from error


_Asked = tuple[Callable[[], Any], asyncio.Future[Any]]


def _settle(answer: asyncio.Future[Any], result: object, fault: BaseException | None) -> None:
    if answer.done():
        return
    if fault is None:
        answer.set_result(result)
    else:
        answer.set_exception(fault)


class SqliteLog:
    """Fulfils `store.log.contract.Log`: one hand writes, one reads, one looks where the head is, and one writes the
    write-ahead log back.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._pen = _Hand(self._path, "log-pen")
        self._eyes = _Hand(self._path, "log-eyes")
        self._look = _Hand(self._path, "log-look")
        self._keeper = _Hand(self._path, "log-keeper")
        self._keeping: asyncio.Task[None] | None = None
        self._is_kept = False  # the keeper has written back all but what was committed meanwhile

    async def open(self) -> None:
        """Opens the file, or creates it with its folder. Raises LogFault."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogFault(f"The folder {self._path.parent} cannot be made: {error.strerror}.") from error
        await self._eyes.do(lambda: self._eyes.connector.get(may_create=True))

    async def close(self) -> None:
        """Lets go of the pen and the file."""
        if self._keeping is not None:
            await self._keeping
        for hand in (self._keeper, self._pen, self._look, self._eyes):
            await hand.close()

    async def load(self, take: Callable[[Slice], None]) -> Position:
        """Gives all current objects to `take`, as they were in one moment; answers that moment's position."""
        eyes = self._eyes
        opened = await eyes.do(eyes.connector.another)
        try:
            position, slices = await eyes.do(lambda: _begin_load(opened.connection))
            some = await eyes.do(lambda: next(slices, None))
            while some is not None:
                coming = eyes.do(lambda: next(slices, None))  # is read while this one is taken
                for start in range(0, len(some.ids), _LOAD_ROWS):
                    part = slice(start, start + _LOAD_ROWS)
                    take(Slice(some.table, some.ids[part], some.rows[part]))
                    await asyncio.sleep(0)
                some = await coming
        finally:
            await eyes.do(opened.close)
        return position

    async def head(self) -> Position:
        """The position of the last committed turn. Raises LogFault."""
        look = self._look
        found = look.do_at_once(_head)
        return await look.do(lambda: _head(look.connector.get())) if found is None else found

    async def follow(self, after: Position, limit: int) -> Sequence[Turn] | Reset:
        """The next whole turns after a position, or Reset. Raises LogFault."""
        return await self._eyes.do(lambda: _follow(self._eyes.connector.get(), after, limit))

    async def take_pen(self, wait_s: float) -> Position:
        """Takes SQLite's write lock; answers the head. Raises PenHeld, LogFault."""
        taken = self._pen.do_at_once(self._take_free_pen)
        return await self._pen.do(lambda: self._take_pen(wait_s)) if taken is None else taken

    async def append(self, expected: Position, turn: Turn) -> None:
        """Commits a turn on top of `expected`. Raises HeadMoved, LogFault, OutcomeUnknown."""
        pages = await self._pen.do(lambda: self._append(expected, turn))
        if pages >= _WAL_PAGES and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.create_task(self._write_back())

    async def drop_pen(self) -> None:
        """Ends a turn that wrote nothing."""
        if not self._pen.do_at_once(_rolled_back):
            await self._pen.do(self._roll_back)

    async def find_turn(self, turn_id: str, after: Position) -> Position | None:
        """Where a turn is in the log after `after`, or None. Raises LogFault."""
        return await self._pen.do(lambda: _find_turn(self._pen.connector.get(), turn_id, after))

    async def trim(self, before_s: float, limit: int) -> int:
        """Forgets the oldest history. Raises PenHeld, LogFault."""
        return await self._pen.do(lambda: self._trim(before_s, limit))

    def _take_free_pen(self, connection: apsw.Connection) -> Position | None:
        """Takes the pen if nobody holds it or stands in line for it, and nothing is to be done before."""
        with self._pen.connector.line.head(0) as is_first:
            is_taken = is_first and not self._is_kept and _rolled_back(connection) and self._begin(connection)
        return _head(connection) if is_taken else None

    def _take_pen(self, wait_s: float) -> Position:
        self._roll_back()
        if self._is_kept:
            self._is_kept = False
            # With nothing left in it the write-ahead log begins anew, so it stays small however busy the log is.
            with suppress(apsw.Error):  # another time, then: a write says it better if the disk is full
                _checkpoint(self._pen.connector.get())
        deadline = time.monotonic() + wait_s
        with self._pen.connector.line.head(min(wait_s, _LINE_S)):
            while not self._begin(self._pen.connector.get()):
                if time.monotonic() >= deadline:
                    raise PenHeld(self._who_holds(wait_s))
                time.sleep(_POLL_S)
        return _head(self._pen.connector.get())

    def _begin(self, connection: apsw.Connection) -> bool:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            return False
        if not self._pen.connector.is_current():  # replaced between the look and the lock
            self._roll_back()
            return False
        return True

    def _who_holds(self, wait_s: float) -> str:
        pid = pen_holder(self._path)
        who = "Another process" if pid is None else f"Process {pid}"
        return f"{who} has held the log {self._path} for more than {wait_s:g} s: resume it (kill -CONT) or end it."

    def _roll_back(self) -> None:
        _rolled_back(self._pen.connector.get())

    def _append(self, expected: Position, turn: Turn) -> int:
        connection = self._pen.connector.get()
        if not connection.in_transaction:
            self._take_pen(_LINE_S)
            connection = self._pen.connector.get()
        try:
            _insert_turn(connection, expected, turn)
        except BaseException:
            self._roll_back()
            raise
        try:
            connection.execute("COMMIT")
        except (apsw.FullError, apsw.ReadOnlyError, apsw.BusyError):
            self._roll_back()  # SQLite writes the mark that makes a commit last of all: there is none
            raise
        except apsw.Error as error:
            self._pen.connector.drop()
            raise OutcomeUnknown(reason(self._path, error)) from error
        if not self._pen.connector.is_current():
            raise OutcomeUnknown(f"The log {self._path} was replaced during a commit.")
        return self._pen.connector.wal_pages

    async def _write_back(self) -> None:
        """Moves the write-ahead log into the file while turns go on. What fails is tried again after a later turn."""
        with suppress(LogFault):
            for _ in range(_KEEPS_MAX):
                pages, done = await self._keeper.do(lambda: _checkpoint(self._keeper.connector.get()))
                if pages - done < _WAL_PAGES // 16:
                    self._is_kept = True
                    return

    def _trim(self, before_s: float, limit: int) -> int:
        self._take_pen(_LINE_S)
        try:
            removed = _forget(self._pen.connector.get(), before_s, limit)
        except BaseException:
            self._roll_back()  # or it would hold the pen until its next turn
            raise
        return removed


def _head(connection: apsw.Connection) -> Position:
    revision, turn = next(connection.execute("SELECT revision, turn FROM meta"))
    return Position(revision, turn.hex())


def _rolled_back(connection: apsw.Connection) -> bool:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
    return True


def _checkpoint(connection: apsw.Connection) -> tuple[int, int]:
    """Writes back what no reader needs and nobody waits for: pages of the write-ahead log, and how many are done."""
    return connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


def _begin_load(connection: apsw.Connection) -> tuple[Position, Iterator[Slice]]:
    # Objects lie in the order in which they were made: read by id, each is a page of its own.
    connection.pragma("mmap_size", _LOAD_MAP_BYTES)
    connection.execute("BEGIN")
    return _head(connection), _read(connection)


def _read(connection: apsw.Connection) -> Iterator[Slice]:
    kind = ""
    while (
        kind := connection.execute("SELECT min(kind) FROM objects WHERE kind > ?", (kind,)).get
    ) is not None:
        after = ""
        while True:
            count, framed = next(connection.execute(_READ, (kind, after, _READ_ROWS)))
            if not count:
                break
            both = _unpack(b"\xdd" + (2 * count).to_bytes(4, "big") + framed)
            after = both[-2]
            yield Slice(kind, both[::2], both[1::2])


def _follow(connection: apsw.Connection, after: Position, limit: int) -> Sequence[Turn] | Reset:
    connection.execute("BEGIN")
    try:
        head = _head(connection)
        if head == after:
            return []
        return _turns(connection, after, limit) if _has(connection, after) else Reset(head)
    finally:
        connection.execute("COMMIT")


def _has(connection: apsw.Connection, position: Position) -> bool:
    horizon, turn = next(connection.execute("SELECT horizon, horizon_turn FROM meta"))
    if position.revision == horizon:
        return bool(turn.hex() == position.turn)
    found = connection.execute("SELECT turn FROM history WHERE revision = ?", (position.revision,)).get
    return found is not None and found.hex() == position.turn


def _turns(connection: apsw.Connection, after: Position, limit: int) -> list[Turn]:
    turns: list[Turn] = []
    seen = 0
    records: list[Record] = []
    current = (b"", 0, 0.0)  # turn, last revision, time
    query = "SELECT revision, turn, time, kind, id, old, new, request FROM history WHERE revision > ? ORDER BY revision"
    rows = connection.execute(query, (after.revision,))
    for revision, turn, time_s, *record in rows:
        if turn != current[0] and records:
            turns.append(Turn(Position(current[1], current[0].hex()), current[2], records))
            seen += len(records)
            records = []
            if seen >= limit:
                break
        records.append(Record(*record))
        current = (turn, revision, time_s)
    if records and seen < limit:
        turns.append(Turn(Position(current[1], current[0].hex()), current[2], records))
    rows.close(True)
    return turns


def _find_turn(connection: apsw.Connection, turn_id: str, after: Position) -> Position | None:
    query = "SELECT max(revision) FROM history WHERE revision > ? AND turn = ?"
    revision = connection.execute(query, (after.revision, bytes.fromhex(turn_id))).get
    return None if revision is None else Position(revision, turn_id)


def _forget(connection: apsw.Connection, before_s: float, limit: int) -> int:
    horizon, count, last = None, 0, bytes.fromhex(_head(connection).turn)
    query = "SELECT revision, turn, time FROM history ORDER BY revision"
    for revision, turn, time_s in connection.execute(query):
        is_next = horizon is None or turn != horizon[1]
        if is_next and (count >= limit or time_s >= before_s or turn == last):
            break
        horizon, count = (revision, turn), count + 1
    removed = 0
    if horizon is not None:
        connection.execute("DELETE FROM history WHERE revision <= ?", horizon[:1])
        removed = connection.changes()
        connection.execute("UPDATE meta SET horizon = ?, horizon_turn = ?", horizon)
    connection.execute("COMMIT")
    return removed


def _insert_turn(connection: apsw.Connection, expected: Position, turn: Turn) -> None:
    turn_id = bytes.fromhex(turn.position.turn)
    assert turn.position.revision == expected.revision + len(turn.records), "a turn must count its records"
    connection.execute(
        "UPDATE meta SET revision = ?, turn = ? WHERE revision = ? AND turn = ?",
        (turn.position.revision, turn_id, expected.revision, bytes.fromhex(expected.turn)),
    )
    if connection.changes() != 1:
        raise HeadMoved(f"The log is at {_head(connection)}, not at {expected}")
    history = []
    current: dict[tuple[str, str], bytes | None] = {}
    for revision, record in enumerate(turn.records, expected.revision + 1):
        history.append((revision, turn_id, turn.time_s, *record))
        current[record.table, record.id] = record.new
    _many(connection, _NOTE, history)
    put = sorted((*key, new) for key, new in current.items() if new is not None)
    _many(connection, _PUT, put)
    gone = [key for key, new in current.items() if new is None]
    if gone:
        connection.executemany("DELETE FROM objects WHERE kind = ? AND id = ?", gone)


def _many(
    connection: apsw.Connection, statement: tuple[str, str, str], rows: Sequence[tuple[object, ...]]
) -> None:
    start = 0
    into, row, end = statement
    for size in _BATCHES:
        text = into + ",".join([row] * size) + end
        while len(rows) - start >= size:
            values = [value for one in rows[start : start + size] for value in one]
            connection.execute(text, cast("list[apsw.SQLiteValue]", values))
            start += size
