# SPDX-License-Identifier: Apache-2.0
"""What Alcor declares of each attribute and rule is what the reference declares, or a reviewed difference from it."""

from tests.peers.contract import attributes_differ, policies_differ, reviewed, stale, unreviewed
from tests.peers.declarations import ATTRIBUTES, POLICIES, Declared, line, read


def test_attributes_are_declared_as_the_reference_declares_them_but_for_reviewed_differences():
    found = set(attributes_differ())
    assert unreviewed(found, reviewed()) == [], "mend it, or say why in tests/peers/differences.toml"


def test_the_list_of_differences_says_nothing_that_is_no_longer_so():
    assert stale(set(attributes_differ()), reviewed()) == []


def test_policy_is_the_reference_by_default():
    assert list(policies_differ()) == []


def test_a_difference_is_known_by_its_whole_text_or_by_a_pattern():
    known = {"ports.name takes [a]": "why", "*.name is sort": "why"}
    found = ["ports.name takes [a]", "subnets.name is sort", "ports.mtu is sort"]
    assert unreviewed(found, known) == ["ports.mtu is sort"]
    assert stale(["ports.name is sort"], known) == ["ports.name takes [a]"]


def test_every_reviewed_difference_has_a_reason():
    assert [difference for difference, reason in reviewed().items() if len(reason.split()) < 3] == []


def test_the_tables_are_written_as_they_are_read():
    lines = [line(*key, declared) for key, declared in read().items()]
    assert lines == ATTRIBUTES.read_text(encoding="utf-8").splitlines()
    assert len(POLICIES.read_text(encoding="utf-8").splitlines()) > 300


def test_what_may_not_be_given_takes_nothing():
    declared = Declared(frozenset({"visible"}), "unset", frozenset())
    assert line("core", "ports", "status", declared) == "core\tports\tstatus\tvisible\tunset\t"
