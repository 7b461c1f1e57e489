# SPDX-License-Identifier: Apache-2.0
"""When a silent host is called gone, and when the silence is taken for our own."""

from alcor.push.liveness import Liveness


def present(count: int) -> Liveness:
    liveness = Liveness(grace_s=10, share_max=0.1)
    for number in range(count):
        liveness.came(f"h{number}")
    return liveness


def test_a_host_is_gone_after_the_grace_and_is_said_so_once() -> None:
    liveness = present(20)
    liveness.went("h0", now_s=100)
    assert list(liveness.due(109)) == []
    assert list(liveness.due(110)) == ["h0"]
    assert list(liveness.due(200)) == []


def test_a_host_that_comes_back_within_the_grace_was_never_gone() -> None:
    liveness = present(20)
    liveness.went("h0", now_s=100)
    liveness.came("h0")
    assert list(liveness.due(200)) == []


def test_the_grace_counts_from_the_first_silence() -> None:
    liveness = present(20)
    liveness.went("h0", now_s=100)
    liveness.went("h0", now_s=105)
    assert list(liveness.due(110)) == ["h0"]


def test_more_than_a_tenth_silent_at_once_is_our_fault_and_nobody_is_gone() -> None:
    liveness = present(20)
    for number in range(3):
        liveness.went(f"h{number}", now_s=100)
    assert liveness.is_our_fault
    assert list(liveness.due(1000)) == []

    liveness.came("h0")
    assert not liveness.is_our_fault
    assert list(liveness.due(1000)) == ["h1", "h2"]


def test_one_host_alone_can_always_be_gone() -> None:
    liveness = present(2)
    liveness.went("h0", now_s=100)
    assert list(liveness.due(110)) == ["h0"]


def test_hosts_that_are_expected_and_do_not_come_are_gone() -> None:
    liveness = present(19)
    liveness.expect(["h0", "h99"], now_s=100)
    assert list(liveness.due(110)) == ["h99"]
    liveness.expect(["h99"], now_s=200)
    assert list(liveness.due(300)) == []


def test_hosts_called_gone_earlier_do_not_count_as_silent_now() -> None:
    liveness = present(20)
    for number in range(10):
        liveness.went(f"h{number}", now_s=100 * number)
        assert list(liveness.due(100 * number + 10)) == [f"h{number}"]
