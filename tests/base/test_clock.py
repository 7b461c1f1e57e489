# SPDX-License-Identifier: Apache-2.0
"""The machine's clock, and timestamps as users see them."""

from alcor.base.clock import SystemClock, utc_text


def test_a_timestamp_is_utc_in_whole_seconds() -> None:
    assert utc_text(1_700_000_000.99) == "2023-11-14T22:13:20Z"


def test_the_monotonic_clock_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.monotonic_s() for _ in range(1_000)]
    assert readings == sorted(readings)
    assert clock.now_s() > 1_700_000_000
