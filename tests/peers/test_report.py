# SPDX-License-Identifier: Apache-2.0
"""The page of results shows each class beside Neutron's outcomes."""

from tests.peers.calls import Waited
from tests.peers.outcomes import Outcome, class_of, reference, verdict
from tests.peers.report import Found, kind_of, lines, page, spoken

CLASS = "tempest.api.network.test_versions.NetworksApiDiscovery"


def test_a_class_stands_beside_the_outcomes_of_neutron():
    tests = [test for test in reference() if class_of(test) == CLASS]
    outcomes = [Outcome(tests[0], "pass", 0.5), Outcome(tests[1], "fail", 0.5, "Conflict")]
    text = page(
        Found(outcomes, {"tempest.api.network": 61.0}, {"network": Waited(3, 0.5, 2.0, 0)}, 2, (7, 0.4))
    )
    row = next(line for line in text.splitlines() if CLASS in line).split("|")[2:]
    assert [cell.strip() for cell in row[:8]] == ["1", "1", "", "", "2", "", "", "1.0"]
    assert "| network | 3 | 0.5 | 2.0 | 0 |" in text
    assert "The 1 tests that pass with both took 0 s here" in text
    assert "0.4 of its seconds and 7 requests" in text
    suite = next(line for line in text.splitlines() if line.startswith("| tempest.api.network |"))
    assert [cell.strip() for cell in suite.split("|")[2:6]] == ["2", "1", "1", "0"]
    assert suite.split("|")[8].strip() == "1"


def test_a_skip_for_an_absent_extension_is_told_from_others():
    assert kind_of(Outcome("t.a", "skip", 0, "qos extension not enabled.")) == "absent"
    assert (
        kind_of(Outcome("t.a", "skip", 0, "Skipped because the compute service is not available")) == "skip"
    )


def test_what_is_wrong_is_said_with_its_reason():
    outcomes = [Outcome("t.a", "fail", 0, "Conflict: in use"), Outcome("t.b", "pass", 0)]
    text = spoken(verdict(outcomes, [], {"t.b": "why"}))
    assert "t.a" in text
    assert "Conflict: in use" in text
    assert "passes, and is in accepted.toml: t.b" in text
    assert lines(outcomes).splitlines()[1] == "t.b\tpass\t0.00\t"
