# SPDX-License-Identifier: Apache-2.0
"""What a notifier remembers: how far it has told the log, and what could not be told. A file; one process holds it."""

import fcntl
import os
from pathlib import Path

import msgspec

from alcor.resource.declare import Notice


class Failed(msgspec.Struct, frozen=True):
    """A notice that was given up."""

    notice: Notice
    why: str
    at: str  # utc_text


class Told(msgspec.Struct, frozen=True):
    """Everything up to this position was told, but for what failed."""

    revision: int
    turn: str
    delivered: int = 0
    failed_count: int = 0
    failed: tuple[Failed, ...] = ()  # the latest


def read(path: Path) -> Told | None:
    """What the file says; None where there is none. Raises OSError, ValueError where it is not such a file."""
    return msgspec.json.decode(path.read_bytes(), type=Told) if path.exists() else None


class Ledger:
    """The file, written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = -1

    def take(self) -> bool:
        """Whether this process may tell. The right ends with the process, however it ends. Raises OSError."""
        if self._lock < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._lock = os.open(self._path.with_name(self._path.name + "-lock"), flags, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def read(self) -> Told | None:
        """What was written last. Raises OSError, ValueError."""
        return read(self._path)

    def write(self, told: Told) -> None:
        """Durable when it returns. Raises OSError."""
        beside = self._path.with_name(self._path.name + "-new")
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(told))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)

    def close(self) -> None:
        """Lets another process tell."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
