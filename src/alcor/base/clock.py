# SPDX-License-Identifier: Apache-2.0
"""Time as an argument: the real clock, and the interface that a simulated one fulfils."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the system knows of time."""

    def now_s(self) -> float:
        """Seconds since the epoch, for timestamps that users see."""

    def monotonic_s(self) -> float:
        """Seconds that never go back, for deadlines and intervals."""


class SystemClock:
    """The clock of the machine."""

    def now_s(self) -> float:
        return time.time()

    def monotonic_s(self) -> float:
        return time.monotonic()


def utc_text(now_s: float) -> str:
    """`now_s` as Neutron prints timestamps: `2026-11-22T10:00:00Z` (whole seconds, UTC)."""
    return datetime.fromtimestamp(int(now_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
