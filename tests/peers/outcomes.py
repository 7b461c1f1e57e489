# SPDX-License-Identifier: Apache-2.0
"""What the peers' tests said, what Neutron's run of them said, and whether that is good enough."""

import re
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent
PASSING = FOLDER / "passing.txt"  # tests that pass: none of them may stop
ACCEPTED = FOLDER / "accepted.toml"  # failures that a person has looked at, with the reason
REFERENCE = FOLDER / "neutron29.tsv"  # what Neutron 29 did with each test, and which extensions it needs
SCOPE = FOLDER / "out_of_scope.txt"  # extensions that are left for later

REASON_MAX = 400  # characters

# How an exception begins in a traceback: `a.b.Conflict: why`.
_RAISED = re.compile(r"^(?!Details: )(?:[a-zA-Z_]\w*\.)*[A-Z]\w+: (?!Traceback)", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What one test said. A class that could not be set up is `setUpClass (module.Class)`."""

    test: str  # dotted, without the attributes that tempest adds in brackets
    outcome: str  # "pass", "fail", "skip"
    seconds: float
    reason: str = ""

    @property
    def suite(self) -> str:
        """The class, dotted."""
        return class_of(self.test)


@dataclass(frozen=True)
class Reference:
    """What Neutron 29 itself said."""

    outcome: str
    seconds: float
    extensions: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What makes a run fail, and what a person should write down."""

    regressed: list[str] = field(default_factory=list)  # of passing.txt, and do not pass
    unexplained: list[Outcome] = field(default_factory=list)  # fail, with no reason in accepted.toml
    stale: list[str] = field(default_factory=list)  # accepted failures that pass
    gained: list[str] = field(default_factory=list)  # pass, and are not in passing.txt yet

    @property
    def is_good(self) -> bool:
        """Whether the run may pass."""
        return not (self.regressed or self.unexplained)


def read_lines(text: str) -> list[Outcome]:
    """Outcomes from lines `test, outcome, seconds, reason` with tabs between."""
    found = []
    for line in text.splitlines():
        test, outcome, seconds, reason = line.split("\t", 3)
        found.append(Outcome(test, outcome, float(seconds), reason))
    return found


def read_junit(text: str) -> list[Outcome]:
    """Outcomes from what `subunit2junitxml` writes."""
    return [_of_case(case) for case in ET.fromstring(text).iter("testcase")]


def _of_case(case: ET.Element) -> Outcome:
    test = plain(f"{case.get('classname')}.{case.get('name')}".removeprefix("."))
    seconds = float(case.get("time") or 0)
    if (skipped := case.find("skipped")) is not None:
        return Outcome(test, "skip", seconds, _brief(skipped.text or ""))
    wrong = case.find("failure")
    wrong = case.find("error") if wrong is None else wrong
    if wrong is None:
        return Outcome(test, "pass", seconds)
    text = wrong.text or ""
    begins = [found.start() for found in _RAISED.finditer(text)]
    return Outcome(test, "fail", seconds, _brief(text[begins[-1] :] if begins else text[-REASON_MAX:]))


def _brief(text: str) -> str:
    return " ".join(text.split())[:REASON_MAX]


def spread(outcomes: Iterable[Outcome], tests: Iterable[str]) -> list[Outcome]:
    """The outcomes with those of a class (not set up, or skipped whole) given to each of its tests."""
    members: dict[str, list[str]] = {}
    for test in tests:
        members.setdefault(class_of(test), []).append(test)
    found: dict[str, Outcome] = {}
    for outcome in outcomes:
        whole = re.fullmatch(r"(?:setUpClass|tearDownClass) \((.*)\)", outcome.test)
        for test in members.get(whole[1], [outcome.test]) if whole else [outcome.test]:
            if test not in found or found[test].outcome == "pass":
                found[test] = Outcome(test, outcome.outcome, outcome.seconds, outcome.reason)
    return [found[test] for test in sorted(found)]


def verdict(
    outcomes: Iterable[Outcome],
    passing: Collection[str],
    accepted: Mapping[str, str],
    *,
    is_whole: bool = True,
) -> Verdict:
    """Whether what ran is as good as it was. A part of the tests says nothing about those that did not run."""
    by_test = {outcome.test: outcome for outcome in outcomes}
    passed = {test for test, outcome in by_test.items() if outcome.outcome == "pass"}
    expected = set(passing) if is_whole else set(passing) & by_test.keys()
    return Verdict(
        regressed=sorted(expected - passed),
        unexplained=[
            by_test[test]
            for test in sorted(by_test)
            if by_test[test].outcome == "fail" and test not in accepted and test not in expected
        ],
        stale=sorted(passed & accepted.keys()),
        gained=sorted(passed - set(passing)),
    )


def plain(test: str) -> str:
    """The test's name without what tempest adds in brackets; scenarios' parentheses stay."""
    return re.sub(r"\[[^\]]*\]$", "", test)


def class_of(test: str) -> str:
    """The class of a dotted test."""
    return re.sub(r"\.[^.(]*(\(.*\))?$", "", test)


def reference() -> dict[str, Reference]:
    """Neutron's outcomes by test."""
    found = {}
    for line in REFERENCE.read_text().splitlines():
        test, outcome, seconds, extensions = line.split("\t")
        found[test] = Reference(outcome, float(seconds), tuple(filter(None, extensions.split(","))))
    return found


def named(path: Path) -> list[str]:
    """The lines of a list; `#` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def accepted() -> dict[str, str]:
    """Reviewed failures with their reasons: a test, or `Class.*` for each test of a class."""
    groups = tomllib.loads(ACCEPTED.read_text())["accepted"]
    return {test: group["reason"] for group in groups for test in group["tests"]}
