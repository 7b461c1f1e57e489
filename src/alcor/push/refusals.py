# SPDX-License-Identifier: Apache-2.0
"""Which agents were refused lately and why, for whoever wonders why a host does not come."""

from alcor.push.show import AgentRefused

KEPT_MAX = 100  # kinds of refusal, the latest; an agent that tries again and again is one


class Refusals:
    """The latest refusals, counted by where they came from and why."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], AgentRefused] = {}

    def note(self, peer: str, why: str, now: str) -> None:
        """An agent at `peer`, as gRPC names it, was refused."""
        where = peer.rpartition(":")[0] if peer.startswith("ipv") else peer  # each attempt has another port
        before = self._kept.pop((where, why), None)
        count = before.count + 1 if before else 1
        self._kept[where, why] = AgentRefused(peer=where, reason=why, count=count, last_at=now)
        if len(self._kept) > KEPT_MAX:
            del self._kept[next(iter(self._kept))]

    def listed(self) -> list[AgentRefused]:
        """Those that are remembered, the latest first."""
        return list(reversed(self._kept.values()))
