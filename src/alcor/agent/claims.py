# SPDX-License-Identifier: Apache-2.0
"""What ports of this host were seen to claim: told to push, but no more of it than serves.

A port that the switch tells too much of is not heard for a while. Who then has an address is push's to say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from alcor.dataplane.rows import Claim, decode_claim

HEARD_MAX = 20  # packets of a port in one window; beyond it the port is not heard for the next
WINDOW_S = 1.0
AGAIN_S = 0.1  # within which the same claim is the same event
BURST = 5  # claims of one address that are told at once; after that one a second
_KNOWN_MAX = 10_000  # addresses whose claims are remembered


class Window:
    """How much may be done in one WINDOW_S."""

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._begun_s = 0.0

    def take(self, now_s: float) -> bool:
        """Whether one more may be done at `now_s`, which is monotonic."""
        if now_s - self._begun_s >= WINDOW_S:
            self._begun_s, self._left = now_s, self._most
        self._left -= 1
        return self._left >= 0


@dataclass
class _Budget:
    """How often one address may still be claimed."""

    told_s: float
    left: float = BURST - 1


class Claims:
    """The claims of one host. `tell` gets those to be told, `mute` the ports that are to be silent for WINDOW_S."""

    def __init__(self, tell: Callable[[Claim], None], mute: Callable[[str], None]) -> None:
        self._tell = tell
        self._mute = mute
        self._budgets: dict[Claim, _Budget] = {}
        self._heard: Counter[str] = Counter()  # of each port in this window
        self._window_s = 0.0

    def heard(self, told: bytes, now_s: float) -> None:
        """The switch has told of a packet; `now_s` is monotonic."""
        claim = decode_claim(told)
        if claim is None:
            return
        if now_s - self._window_s >= WINDOW_S:
            self._window_s = now_s
            self._heard.clear()
        self._heard[claim.key] += 1
        if self._heard[claim.key] == HEARD_MAX:
            self._mute(claim.key)
        if self._is_due(claim, now_s):
            self._tell(claim)

    def _is_due(self, claim: Claim, now_s: float) -> bool:
        budget = self._budgets.get(claim)
        if budget is None:
            if len(self._budgets) >= _KNOWN_MAX:
                self._budgets.clear()
            self._budgets[claim] = _Budget(now_s)
            return True
        left = min(BURST, budget.left + now_s - budget.told_s)
        if now_s - budget.told_s < AGAIN_S or left < 1:
            return False
        budget.told_s, budget.left = now_s, left - 1
        return True
