# SPDX-License-Identifier: Apache-2.0
"""The tables of a run: what passes beside Neutron 29, by class, and where the time went."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.peers.calls import Waited
from tests.peers.outcomes import SCOPE, Outcome, Reference, Verdict, class_of, named, reference

PAGE = Path(__file__).parents[2] / "docs/conformance-results.md"
SUITES = ("openstack", "nova.network", "tempest.api.network", "neutron_tempest_plugin.api")


@dataclass(frozen=True)
class Found:
    """What a run came to."""

    outcomes: list[Outcome]
    walls: Mapping[str, float]  # suite: seconds
    spent: Mapping[str, Waited]  # service: time in calls
    workers: int
    tokens: tuple[int, float]  # requests that Alcor made of Keystone while it answered, and their seconds


def passed(outcomes: Iterable[Outcome]) -> list[str]:
    """The tests that pass."""
    return [outcome.test for outcome in outcomes if outcome.outcome == "pass"]


def lines(outcomes: Iterable[Outcome]) -> str:
    """One line per test, with tabs between."""
    return "".join(f"{one.test}\t{one.outcome}\t{one.seconds:.2f}\t{one.reason}\n" for one in outcomes)


def spoken(verdict: Verdict) -> str:
    """What a person must know of a run, in a few lines."""
    parts = [
        *(f"stopped passing: {test}" for test in verdict.regressed),
        *(
            f"fails, with no reason in accepted.toml: {one.test}\n    {one.reason}"
            for one in verdict.unexplained
        ),
        *(f"passes, and is in accepted.toml: {test}" for test in verdict.stale),
    ]
    if verdict.gained:
        parts.append(f"{len(verdict.gained)} more tests pass: write them down with --record")
    return "\n".join(parts) or "Every test that passed before passes, and every failure has its reason."


def page(found: Found) -> str:
    """The page of results."""
    known, later = reference(), set(named(SCOPE))
    parts = [
        "# Conformance: results",
        "",
        "Written by `make conformance ARGS=--record`; [conformance.md](conformance.md) says how to read it.",
        "",
        "## Suites",
        "",
        "`absent`: skipped because an extension is absent. In scope: tests that need no extension of",
        "`tests/peers/out_of_scope.txt`.",
        "",
        "| suite | tests | pass | fail | absent | skip | in scope: Neutron 29 passes | Alcor passes | wall s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(_suite(suite, found, known, later) for suite in SUITES),
        "",
        "## Time in calls",
        "",
        f"{found.workers} workers. Tempest waits for each answer; its log has the time of each.",
        "",
        "| service | calls | seconds | median ms | answered 5xx |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| {name} | {spent.calls:,} | {spent.seconds:.1f} | {spent.median_ms:.1f} | {spent.failed} |"
            for name, spent in found.spent.items()
        ),
        "",
        "Alcor asked Keystone about the tokens that it did not know yet, in",
        f"{found.tokens[1]:.1f} of its seconds and {found.tokens[0]:,} requests.",
        "",
        _beside(found.outcomes, known),
        "",
        "## Classes",
        "",
        "| class | pass | fail | absent | skip | Neutron 29: pass | fail | skip | s | Neutron 29: s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *_classes(found.outcomes, known),
    ]
    return "\n".join(parts) + "\n"


def _beside(outcomes: Iterable[Outcome], known: Mapping[str, Reference]) -> str:
    both = [
        (one.seconds, known[one.test].seconds)
        for one in outcomes
        if one.outcome == "pass" and one.test in known and known[one.test].outcome == "pass"
    ]
    return (
        f"The {len(both):,} tests that pass with both took {sum(ours for ours, _ in both):,.0f} s here, Keystone's part"
        f" included, and {sum(theirs for _, theirs in both):,.0f} s when Neutron 29's outcomes were recorded: with two"
        " to four workers and beside other work, so a hint and no measurement."
    )


def _suite(suite: str, found: Found, known: Mapping[str, Reference], later: set[str]) -> str:
    outcomes = [one for one in found.outcomes if one.test.startswith(suite + ".")]
    counts = Counter(kind_of(one) for one in outcomes)
    wanted = {
        test
        for test, said in known.items()
        if test.startswith(suite + ".") and said.outcome == "pass" and not later.intersection(said.extensions)
    }
    reached = wanted.intersection(passed(outcomes))
    wall = found.walls.get("clients" if suite == "openstack" else suite, 0)
    of_neutron = f"{len(wanted)} | {len(reached)}" if wanted else "- | -"
    return (
        f"| {suite} | {len(outcomes)} | {counts['pass']} | {counts['fail']} | {counts['absent']} | {counts['skip']} |"
        f" {of_neutron} | {wall:.0f} |"
    )


def _classes(outcomes: Iterable[Outcome], known: Mapping[str, Reference]) -> Iterable[str]:
    ours: dict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        ours[one.suite].append(one)
    theirs: dict[str, list[Reference]] = defaultdict(list)
    for test, said in known.items():
        theirs[class_of(test)].append(said)
    for name in sorted(ours):
        counts = Counter(kind_of(one) for one in ours[name])
        other = Counter(said.outcome for said in theirs[name])
        cells = [name, *(counts[kind] or "" for kind in ("pass", "fail", "absent", "skip"))]
        cells += [other[kind] or "" for kind in ("pass", "fail", "skip")]
        cells += [f"{sum(one.seconds for one in ours[name]):.1f}"]
        cells += [f"{sum(said.seconds for said in theirs[name]):.1f}" if theirs[name] else ""]
        yield "| " + " | ".join(map(str, cells)) + " |"


def kind_of(outcome: Outcome) -> str:
    """ "pass", "fail", "skip", or "absent": skipped because an extension is not there."""
    is_absent = outcome.outcome == "skip" and (
        "extension" in outcome.reason.lower() or "alias" in outcome.reason
    )
    return "absent" if is_absent else outcome.outcome
