# SPDX-License-Identifier: Apache-2.0
"""What hosts have said and the log has yet to learn: hellos, liveness and reports, merged until a turn takes them.

Decides nothing: the features' observers do, inside the turn. Bounded by merging, the newest word of each row, and for
each host: whoever says more, says it of what it does not have.
"""

from collections.abc import Callable, Sequence
from typing import Any

from alcor.dataplane.rows import Claim
from alcor.goal.declare import GoalFeature, HelloFacts, Life, Observer, Report
from alcor.store.reader import Txn

REPORTS_MAX = CLAIMS_MAX = 20_000  # of one host that wait: older ones are let go of


class Outbox:
    """Words of hosts, oldest host first. Filled by `push.core`, emptied by whoever submits turns."""

    def __init__(self, features: Sequence[GoalFeature], wake: Callable[[], None] = lambda: None) -> None:
        self._wake = wake  # called when a word came
        self._observers = [observer for feature in features for observer in feature.observers]
        self._words: dict[str, _Words] = {}
        self.count = 0  # words that wait

    def hello(self, host: str, facts: HelloFacts) -> None:
        """The host opened a session; it is alive."""
        words = self._of(host)
        self.count += words.hello is None
        self.count -= words.life is not None
        words.hello, words.life = facts, None

    def life(self, life: Life) -> None:
        """The host is called gone, or alive all the same."""
        words = self._of(life.host)
        self.count += words.life is None
        words.life = life

    def reports(self, host: str, reports: Sequence[Report]) -> None:
        """The host reports rows of its own scope."""
        words = self._of(host)
        for report in reports:
            self.count += words.report(report)

    def claims(self, host: str, claims: Sequence[Claim]) -> None:
        """The host has seen ports claim addresses."""
        words = self._of(host)
        for claim in claims:
            self.count += words.claim(claim)

    def take(self, words_max: int) -> "Batch":
        """Takes about `words_max` words, host by host; those of one host may be split."""
        batch = Batch(self._observers)
        for host in list(self._words):
            if batch.count >= words_max:
                break
            words = self._words[host]
            taken = words.split(words_max - batch.count)
            batch.words[host] = taken
            batch.count += taken.count
            self.count -= taken.count
            if not words.count:
                del self._words[host]
        return batch

    def put_back(self, batch: "Batch") -> None:
        """Takes words back that no turn took; newer words win over them."""
        for host, old in batch.words.items():
            new = self._words.get(host)
            self.count -= new.count if new else 0
            self._words[host] = merged = old.followed_by(new) if new else old
            self.count += merged.count

    def _of(self, host: str) -> "_Words":
        words = self._words.get(host)
        if words is None:
            words = self._words[host] = _Words()
        self._wake()
        return words


class Batch:
    """Words for one turn."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.words: dict[str, _Words] = {}
        self.count = 0
        self._observers = observers

    def run(self, txn: Txn) -> None:
        """Tells the observers, in their order; may be run again in another turn."""
        for host, words in self.words.items():
            for observer in self._observers:
                words.tell(txn, host, observer)


class _Words:
    """What one host said."""

    __slots__ = ("claims", "hello", "life", "reports")

    def __init__(self) -> None:
        self.hello: HelloFacts | None = None
        self.life: Life | None = None  # newer than the hello
        self.reports: dict[str, Report] = {}
        self.claims: dict[tuple[str, str], Claim] = {}  # by port and address; the newest is the last

    @property
    def count(self) -> int:
        """How many words these are."""
        return (self.hello is not None) + (self.life is not None) + len(self.reports) + len(self.claims)

    def report(self, report: Report) -> bool:
        """Takes in a report; whether it is one more word."""
        is_new = report.key not in self.reports
        self.reports[report.key] = report
        return is_new and _is_within(self.reports, REPORTS_MAX)

    def claim(self, claim: Claim) -> bool:
        """Takes in a claim; whether it is one more word."""
        place = claim.key, claim.address
        is_new = self.claims.pop(place, None) is None
        self.claims[place] = claim
        return is_new and _is_within(self.claims, CLAIMS_MAX)

    def split(self, words_max: int) -> "_Words":
        """Takes the oldest of these away, about so many."""
        taken = _Words()
        taken.hello, self.hello = self.hello, None
        taken.life, self.life = self.life, None
        for key in list(self.reports)[: max(0, words_max - taken.count)]:
            taken.reports[key] = self.reports.pop(key)
        for place in list(self.claims)[: max(0, words_max - taken.count)]:
            taken.claims[place] = self.claims.pop(place)
        return taken

    def followed_by(self, newer: "_Words") -> "_Words":
        """These and newer ones, of which the newer win."""
        merged = _Words()
        merged.hello = newer.hello or self.hello
        merged.life = newer.life or (None if newer.hello else self.life)
        merged.reports = {**self.reports, **newer.reports}
        merged.claims = {**self.claims, **newer.claims}
        return merged

    def tell(self, txn: Txn, host: str, observer: Observer) -> None:
        """Tells one observer."""
        if self.hello and observer.on_hello:
            observer.on_hello(txn, host, self.hello)
        if self.life and observer.on_life:
            observer.on_life(txn, self.life)
        if self.reports and observer.on_reports:
            observer.on_reports(txn, host, list(self.reports.values()))
        if self.claims and observer.on_claims:
            observer.on_claims(txn, host, list(self.claims.values()))


def _is_within(kept: dict[Any, Any], most: int) -> bool:
    """Whether there is room for what was put there; else the oldest goes."""
    if len(kept) <= most:
        return True
    del kept[next(iter(kept))]
    return False
