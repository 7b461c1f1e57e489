# SPDX-License-Identifier: Apache-2.0
"""What is remembered of agents that were refused."""

from alcor.push.refusals import KEPT_MAX, Refusals


def test_an_agent_that_is_refused_again_and_again_is_one_line() -> None:
    refusals = Refusals()
    for port in (1, 2, 3):
        refusals.note(f"ipv4:192.0.2.1:{port}", "why", f"{port}")
    [only] = refusals.listed()
    assert (only.peer, only.count, only.last_at) == ("ipv4:192.0.2.1", 3, "3")


def test_the_latest_come_first_and_the_oldest_are_forgotten() -> None:
    refusals = Refusals()
    for number in range(KEPT_MAX + 5):
        refusals.note("unix:", f"reason {number}", "now")
    refusals.note("unix:", "reason 7", "later")
    kept = [each.reason for each in refusals.listed()]
    assert len(kept) == KEPT_MAX
    assert kept[:2] == ["reason 7", f"reason {KEPT_MAX + 4}"]
    assert "reason 4" not in kept
