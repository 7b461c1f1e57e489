# SPDX-License-Identifier: Apache-2.0
"""Meters as OVS's userspace datapath counts them: a bucket that is full at first and fills by the millisecond."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from alcor.base.clock import Clock
from alcor.dataplane.values import Flow, Meter

_PER_UNIT = 1000  # a bucket holds bits, or thousandths of packets


@dataclass(slots=True)
class _Bucket:
    """A meter, and what may still pass."""

    meter: Meter
    left: int
    filled_at_ms: int


class Meters:
    """The meters of a switch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[int, _Bucket] = {}

    def set(self, meter: Meter) -> None:
        """Add the meter, or change it; its bucket is then full."""
        self._buckets[meter.id] = _Bucket(meter, meter.burst * _PER_UNIT, self._now_ms())

    def keep(self, used: Collection[int]) -> None:
        """Delete all but these."""
        for number in self._buckets.keys() - set(used):
            del self._buckets[number]

    def all(self) -> list[Meter]:
        """The meters, by number."""
        return [self._buckets[number].meter for number in sorted(self._buckets)]

    def shown(self, flow: Flow) -> Flow:
        """The flow with its meter as it is in the switch."""
        first = flow.actions[0] if flow.actions else None
        if not isinstance(first, Meter):
            return flow
        return replace(flow, actions=(self._buckets[first.id].meter, *flow.actions[1:]))

    def passes(self, number: int, frame_bytes: int) -> bool:
        """Whether a frame of this length goes on, which is then counted."""
        bucket, now_ms = self._buckets[number], self._now_ms()
        meter = bucket.meter
        gained = (now_ms - bucket.filled_at_ms) * meter.rate
        bucket.left = min(bucket.left + gained, meter.burst * _PER_UNIT)
        bucket.filled_at_ms = now_ms
        cost = _PER_UNIT if meter.is_packets else frame_bytes * 8
        if cost > bucket.left:
            return False
        bucket.left -= cost
        return True

    def _now_ms(self) -> int:
        return int(self._clock.monotonic_s() * 1000)
