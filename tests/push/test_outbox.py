# SPDX-License-Identifier: Apache-2.0
"""What hosts said, on its way to the log: merged, in batches, and not lost when a turn does not take it."""

from collections.abc import Sequence
from typing import cast

from alcor.base.net import Mac, ip_of
from alcor.dataplane.rows import Claim
from alcor.goal.declare import GoalFeature, HelloFacts, Life, Observer, Report
from alcor.push.outbox import CLAIMS_MAX, REPORTS_MAX, Batch, Outbox
from alcor.store.reader import Txn

FACTS = HelloFacts("10.0.0.1", "1", "br-int", "now")


class Listener:
    """Notes what observers are told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []

    def outbox(self) -> Outbox:
        observer = Observer(
            on_hello=lambda txn, host, facts: self.told.append(("hello", host)),
            on_reports=self._on_reports,
            on_life=lambda txn, life: self.told.append(("alive", life.host, life.is_alive)),
        )
        return Outbox([GoalFeature(name="one", observers=(observer, Observer()))])

    def run(self, batch: Batch) -> list[tuple]:
        self.told = []
        batch.run(cast(Txn, None))
        return self.told

    def _on_reports(self, txn: Txn, host: str, reports: Sequence[Report]) -> None:
        self.told += [(host, report.key, report.generation) for report in reports]


def report(key: str, generation: int = 1) -> Report:
    return Report(key, generation, is_realised=True)


def gone(host: str) -> Life:
    return Life(host, False, "one", "now")


def test_a_host_is_told_of_before_what_it_reports() -> None:
    listener = Listener()
    outbox = listener.outbox()
    outbox.reports("h", [report("p")])
    outbox.hello("h", FACTS)
    assert listener.run(outbox.take(100)) == [("hello", "h"), ("h", "p", 1)]
    assert outbox.count == 0


def test_the_newest_report_of_a_row_stands_for_the_older_ones() -> None:
    listener = Listener()
    outbox = listener.outbox()
    outbox.reports("h", [report("p", 1), report("q", 1)])
    outbox.reports("h", [report("p", 2)])
    assert outbox.count == 2
    assert listener.run(outbox.take(100)) == [("h", "p", 2), ("h", "q", 1)]


def test_a_hello_is_a_sign_of_life_and_ends_what_was_said_before() -> None:
    listener = Listener()
    outbox = listener.outbox()
    outbox.life(gone("h"))
    outbox.hello("h", FACTS)
    assert outbox.count == 1
    assert listener.run(outbox.take(100)) == [("hello", "h")]
    assert outbox.count == 0
    outbox.hello("h", FACTS)
    outbox.life(gone("h"))
    assert listener.run(outbox.take(100)) == [("hello", "h"), ("alive", "h", False)]


def test_a_batch_is_bounded_and_the_rest_follows() -> None:
    listener = Listener()
    outbox = listener.outbox()
    outbox.reports("a", [report(f"p{n}") for n in range(7)])
    outbox.reports("b", [report(f"q{n}") for n in range(7)])
    told = []
    while outbox.count:
        batch = outbox.take(5)
        assert batch.count <= 5
        told += listener.run(batch)
    assert sorted(told) == sorted(
        [("a", f"p{n}", 1) for n in range(7)] + [("b", f"q{n}", 1) for n in range(7)]
    )


def test_what_no_turn_took_is_told_later_unless_newer_words_came() -> None:
    listener = Listener()
    outbox = listener.outbox()
    outbox.hello("h", FACTS)
    outbox.life(gone("g"))
    outbox.reports("h", [report("p", 1), report("q", 1)])
    lost = outbox.take(100)
    outbox.reports("h", [report("p", 2)])
    outbox.hello("g", FACTS)
    outbox.put_back(lost)
    assert outbox.count == 4
    told = listener.run(outbox.take(100))
    assert sorted(told) == sorted([("hello", "h"), ("h", "p", 2), ("h", "q", 1), ("hello", "g")])
    assert outbox.count == 0


def test_a_batch_may_run_twice() -> None:
    listener = Listener()
    outbox = listener.outbox()
    outbox.reports("h", [report("p")])
    batch = outbox.take(10)
    assert listener.run(batch) == listener.run(batch) == [("h", "p", 1)]


def test_of_endless_words_of_a_host_the_newest_are_kept() -> None:
    listener = Listener()
    outbox = listener.outbox()
    for number in range(CLAIMS_MAX + 5):
        outbox.claims("h", [Claim("p", ip_of(number, 4), Mac("fa:16:3e:00:00:01"))])
    outbox.reports("h", [report(f"n{number}") for number in range(REPORTS_MAX + 5)])
    assert outbox.count == CLAIMS_MAX + REPORTS_MAX
    outbox.put_back(outbox.take(100))
    assert outbox.count == CLAIMS_MAX + REPORTS_MAX
    assert listener.run(outbox.take(1)) == [("h", "n5", 1)]
