# SPDX-License-Identifier: Apache-2.0
"""When a host without a stream is called gone: after a grace, and never while so many are silent that it is us."""

from collections.abc import Iterable, Iterator


class Liveness:
    """Which hosts are silent since when. Times are monotonic seconds, given by the caller."""

    def __init__(self, grace_s: float, share_max: float) -> None:
        self._grace_s = grace_s
        self._share_max = share_max
        self._present: set[str] = set()
        self._silent: dict[str, float] = {}  # host -> since when; oldest first
        self._gone: set[str] = set()

    def expect(self, hosts: Iterable[str], now_s: float) -> None:
        """These hosts should have streams; those that have none are silent from now on."""
        for host in hosts:
            if host not in self._present and host not in self._gone:
                self._silent.setdefault(host, now_s)

    def came(self, host: str) -> None:
        """The host has a stream."""
        self._silent.pop(host, None)
        self._gone.discard(host)
        self._present.add(host)

    def went(self, host: str, now_s: float) -> None:
        """The host's stream ended."""
        self._present.discard(host)
        self._silent.setdefault(host, now_s)

    def moved(self, host: str) -> None:
        """Another push has the host: it is not ours to miss."""
        self._silent.pop(host, None)
        self._gone.discard(host)

    @property
    def is_our_fault(self) -> bool:
        """Whether more hosts are silent at once than can have failed by themselves; one alone always can."""
        silent = len(self._silent)
        return silent > max(1.0, self._share_max * (silent + len(self._present)))

    def due(self, now_s: float) -> Iterator[str]:
        """Hosts that are gone from now on, each answered once."""
        if self.is_our_fault:
            return
        for host, since_s in list(self._silent.items()):
            if now_s - since_s >= self._grace_s:
                del self._silent[host]
                self._gone.add(host)
                yield host
