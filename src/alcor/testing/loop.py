# SPDX-License-Identifier: Apache-2.0
"""An event loop whose time is simulated: it passes only when every task waits, and then at once."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from alcor.base.clock import Clock

R = TypeVar("R")
EPOCH_S = 1_700_000_000.0  # what a simulated clock's wall shows when its loop begins


class Deadlock(AssertionError):
    """Every task waits for another: no timer is set and nothing will ever happen."""


class _Jump(selectors.SelectSelector):
    """Waits for no file: what would be waited is added to the time instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("every task waits, and no timer is set")
        self.now_s += max(timeout, 0.0)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Runs tasks as asyncio does; sleeping takes no time, and the same program takes the same steps each time.

    Nothing that waits outside of the loop (threads, sockets, processes) may be used on it.
    """

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now_s


class LoopClock(Clock):
    """The time of the running loop: simulated on a `SimulatedLoop`, else the machine's."""

    def now_s(self) -> float:
        return EPOCH_S + self.monotonic_s()

    def monotonic_s(self) -> float:
        return asyncio.get_running_loop().time()


def simulate(main: Coroutine[Any, Any, R]) -> R:
    """Runs `main` in simulated time to its end. Raises what it raises, and Deadlock."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(main)
