# SPDX-License-Identifier: Apache-2.0
"""The file of a SQLite log as a thing on a disk: opening it, noticing that another took its place, who locks it."""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import apsw

from alcor.store.log.contract import FORMAT, LogFault

_APPLICATION = 0x416C636F  # "Alco", in SQLite's header of our files
_WAL_WRITE_LOCK = 120  # the byte of the -shm file that SQLite's writer locks (sqlite.org/walformat.html)
_POLL_S = 0.0005
_OPEN_S = 2.0
_HEAD, _OPENING = 1_000, 1_001  # bytes of the line's file that are locked
_READS = 2_000  # and, shared, that of the newest format which a process reads, while it has the log open

_SCHEMA = """
CREATE TABLE objects (kind TEXT NOT NULL, id TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (kind, id));
CREATE TABLE history (revision INTEGER PRIMARY KEY, turn BLOB NOT NULL, time REAL NOT NULL, kind TEXT NOT NULL,
  id TEXT NOT NULL, old BLOB, new BLOB, request TEXT NOT NULL);
CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, revision INTEGER NOT NULL,
  turn BLOB NOT NULL, horizon INTEGER NOT NULL, horizon_turn BLOB NOT NULL);
INSERT INTO meta VALUES (1, {format}, 0, x'', 0, x'');
PRAGMA application_id = {application};
"""

_Identity = tuple[int, int]  # device and inode


def reason(path: Path, error: Exception) -> str:
    """What went wrong with the file, as one sentence that a person can act on."""
    match error:
        case apsw.FullError():
            return f"The log {path} cannot grow: its disk is full, or its size limit is reached."
        case apsw.ReadOnlyError() | apsw.PermissionsError() | apsw.AuthError():
            return f"The log {path} cannot be written: the file, its folder or its disk is read-only."
        case apsw.CantOpenError():
            return f"The log {path} cannot be opened: its folder is missing or read-only, or may not be used."
        case apsw.NotADBError() | apsw.CorruptError():
            return f"The log {path} is damaged, or is no Alcor log: put a sound copy in its place."
        case apsw.BusyError() | apsw.LockedError():
            return f"The log {path} is locked by another process."
        case _:
            return f"The log {path} answers with an error: {error}."


class Line:
    """The line in front of the pen: who stands at its head takes the pen next, so writing processes alternate.

    A lock on a file beside the log. It only orders: the right to write is SQLite's own lock. The file says which log
    the write-ahead log beside it belongs to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + "-line")
        self._file = -1

    def head(self, wait_s: float) -> AbstractContextManager[bool]:
        """Stands at the head of the line (True); goes on without (False) where it does not move within `wait_s`."""
        return self._locked(_HEAD, wait_s)

    def opening(self) -> AbstractContextManager[bool]:
        """Opens or replaces alone; goes on all the same where a process stopped in the middle of that."""
        return self._locked(_OPENING, _OPEN_S)

    @contextmanager
    def all_read(self) -> Iterator[None]:
        """Nobody who does not read FORMAT has the log open, or opens it meanwhile. Raises LogFault if somebody has."""
        try:
            self._set(_READS, fcntl.F_WRLCK, FORMAT)
        except BlockingIOError:
            who = f"An older version, which does not read format {FORMAT}, has the log open"
            raise LogFault(f"{who}: end it first (fuser -v {self._path} lists who has).") from None
        try:
            yield
        finally:
            self._set(_READS, fcntl.F_UNLCK, FORMAT)

    def read(self) -> str:
        """What was noted last."""
        return os.pread(self._file, 1000, 0).decode() if self._file >= 0 else ""

    def write(self, note: str) -> None:
        """Notes something in place of what was noted."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, note.encode(), 0)

    def close(self) -> None:
        """Leaves."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @contextmanager
    def _locked(self, byte: int, wait_s: float) -> Iterator[bool]:
        is_locked = self._lock(byte, wait_s)
        try:
            yield is_locked
        finally:
            if is_locked:
                self._set(byte, fcntl.F_UNLCK)

    def _lock(self, byte: int, wait_s: float) -> bool:
        deadline = time.monotonic() + wait_s
        try:
            self._open()
        except OSError:
            return False  # a folder that cannot be written: the log's own error will say so
        while True:
            try:
                self._set(byte, fcntl.F_WRLCK)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_POLL_S)
            else:
                return True

    def _open(self) -> None:
        if self._file >= 0:
            return
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._set(_READS + FORMAT, fcntl.F_RDLCK)
        except BlockingIOError:
            self.close()
            raise LogFault(f"The log beside {self._path} is being upgraded: start a newer version.") from None

    def _set(self, byte: int, kind: int, count: int = 1) -> None:
        # A lock of the open file: it also keeps the threads of one process apart.
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", kind, os.SEEK_SET, byte, count, 0))


class Opened:
    """A connection, and which file on the disk it is to."""

    def __init__(self, path: Path, line: Line, *, may_create: bool = False) -> None:
        self._path = path
        create = apsw.SQLITE_OPEN_CREATE if may_create else 0
        with line.opening():
            while not self._open(line, apsw.SQLITE_OPEN_READWRITE | create, may_create=may_create):
                pass  # another file was put in place meanwhile

    def _open(self, line: Line, flags: int, *, may_create: bool) -> bool:
        """Whether what was opened is the file that has the name, and had it all the time."""
        before = _identity(self._path)
        self.connection = apsw.Connection(str(self._path), flags=flags)
        self._identity = _identity(self._path)
        if self._identity != before:  # it may be either; nothing was read yet
            self.connection.close()
            return False
        _put_strange_sides_away(self._path, self._identity, line)
        try:
            _set_up(self.connection, self._path, may_create=may_create)
        except BaseException:
            self.connection.close()
            raise
        if not self.is_current():
            self.close()
            return False
        line.write(f"{self._identity} has {_identity(_sides(self._path)[0])}")
        return True

    def is_current(self) -> bool:
        """Whether the path still names the file that this connection is to, as far as can be seen."""
        try:
            return _identity(self._path) == self._identity
        except OSError:  # an unreadable folder, a disk that answers with errors
            return False

    def close(self) -> None:
        """Closes the connection; leaves the write-ahead log of a file that has taken this one's name alone."""
        if not self.is_current():
            with suppress(apsw.Error):  # as well as may be: the file that was moved away is to be whole
                self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.connection.close(True)


class Connector:
    """Keeps one connection to whatever file has the log's name. Belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self.wal_pages = 0  # in the write-ahead log after this connection's last commit
        self.line = Line(path)
        self._path = path
        self._opened: Opened | None = None

    def get(self, *, may_create: bool = False) -> apsw.Connection:
        """The connection, opened again if another file was put in place. Raises LogFault, apsw.Error."""
        if self._opened is not None and not self._opened.is_current():
            if not self._path.exists():
                raise LogFault(f"The log {self._path} is gone: put it back, or a copy in its place.")
            self.drop()
        if self._opened is None:
            self._opened = Opened(self._path, self.line, may_create=may_create)
            # Instead of SQLite's own way to write it back, which is within some commit.
            self._opened.connection.set_wal_hook(self._count_pages)
        return self._opened.connection

    def opened(self) -> apsw.Connection | None:
        """The connection, if it is open to the right file."""
        opened = self._opened
        return opened.connection if opened is not None and opened.is_current() else None

    def another(self) -> Opened:
        """One more connection to the same file."""
        self.get()
        return Opened(self._path, self.line)

    def is_current(self) -> bool:
        """Whether the connection is to the file that has the log's name."""
        return self._opened is not None and self._opened.is_current()

    def drop(self) -> None:
        """Closes the connection; `get` opens a new one."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def close(self) -> None:
        """Closes everything."""
        self.drop()
        self.line.close()

    def _count_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK


def format_of(path: Path, *, raise_it: bool = False) -> int:
    """The format that the log is written in, if told so after it was raised to FORMAT.

    Raises LogFault where that cannot be: an older version has the log open.
    """
    line = Line(path)
    try:
        opened = Opened(path, line)
        try:
            if raise_it:
                opened.connection.set_busy_timeout(5000)
                with line.all_read():
                    opened.connection.execute("UPDATE meta SET format = ?", (FORMAT,))
            return int(opened.connection.execute("SELECT format FROM meta").get)
        finally:
            opened.close()
    except apsw.Error as error:
        raise LogFault(reason(path, error)) from error
    finally:
        line.close()


def pen_holder(path: Path) -> int | None:
    """The process that holds SQLite's write lock on the log, from the kernel's list of locks; None if unknown."""
    shm = _identity(path.with_name(path.name + "-shm"))
    if shm is None:
        return None
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()  # 12: POSIX ADVISORY WRITE 4711 fe:00:131 120 120
        if (
            len(words) < 8
            or words[1] != "POSIX"
            or words[3] != "WRITE"
            or not words[5].endswith(f":{shm[1]}")
        ):
            continue
        if int(words[6]) <= _WAL_WRITE_LOCK and (words[7] == "EOF" or int(words[7]) >= _WAL_WRITE_LOCK):
            return int(words[4])
    return None


def _sides(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _put_strange_sides_away(path: Path, identity: _Identity | None, line: Line) -> None:
    """Renames the write-ahead log of a file whose place another has taken: SQLite would play it into that one."""
    wal, shm = _sides(path)
    owner, _, owned = line.read().partition(" has ")
    if wal.exists() and owned == str(_identity(wal)) and owner != str(identity):
        wal.rename(wal.with_name(f"{wal.name}-of-another-file"))
        shm.unlink(missing_ok=True)


def _identity(path: Path) -> _Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - several times a turn: Path.stat costs twice as much
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _set_up(connection: apsw.Connection, path: Path, *, may_create: bool) -> None:
    connection.set_busy_timeout(1000)
    connection.execute("PRAGMA cache_size = -65536")
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").get == 0
    if is_empty and not may_create:
        raise LogFault(f"The log {path} is empty: put a whole copy in its place, by renaming it.")
    if is_empty:
        _create(connection)
    elif connection.pragma("application_id") != _APPLICATION:
        raise LogFault(f"{path} is not an Alcor log: name another file.")
    if connection.pragma("journal_mode") != "wal":
        connection.pragma("journal_mode", "wal")
    connection.execute("PRAGMA synchronous = FULL")
    written = connection.execute("SELECT format FROM meta").get
    if written > FORMAT:
        raise LogFault(f"The log {path} has format {written}; this version reads up to {FORMAT}: upgrade it.")
    connection.set_busy_timeout(0)


def _create(connection: apsw.Connection) -> None:
    connection.pragma("journal_mode", "wal")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have created it while this one waited.
        if connection.execute("SELECT count(*) FROM sqlite_schema").get == 0:
            connection.execute(_SCHEMA.format(format=FORMAT, application=_APPLICATION))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
