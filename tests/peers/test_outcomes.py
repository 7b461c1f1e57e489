# SPDX-License-Identifier: Apache-2.0
"""What makes a conformance run fail, and how tests are told apart."""

from tests.peers.outcomes import (
    ACCEPTED,
    PASSING,
    SCOPE,
    Outcome,
    accepted,
    named,
    read_junit,
    reference,
    spread,
    verdict,
)

JUNIT = """<testsuite tests="3">
<testcase classname="a.b.C" name="test_one[id-1,smoke]" time="1.5"/>
<testcase classname="a.b.C" name="test_two[id-2]" time="0.5"><failure type="x">
StringException: Traceback (most recent call last):
  File "x.py", line 1, in f
    raise
a.exceptions.Conflict: Conflict with state of target resource
Details: {'type': 'InUse'}
</failure></testcase>
<testcase classname="" name="setUpClass (a.b.D)" time="0"><skipped>qos extension not enabled.</skipped></testcase>
</testsuite>"""


def said(test: str, outcome: str) -> Outcome:
    return Outcome(test, outcome, 1.0)


def test_a_stream_is_read_with_names_as_they_are_listed():
    one, two, whole = read_junit(JUNIT)
    assert (one.test, one.outcome, one.seconds) == ("a.b.C.test_one", "pass", 1.5)
    assert (two.test, two.outcome) == ("a.b.C.test_two", "fail")
    assert (
        two.reason
        == "a.exceptions.Conflict: Conflict with state of target resource Details: {'type': 'InUse'}"
    )
    assert (whole.test, whole.outcome) == ("setUpClass (a.b.D)", "skip")


def test_a_class_that_was_not_set_up_gives_its_outcome_to_each_of_its_tests():
    outcomes = spread(read_junit(JUNIT), ["a.b.D.test_x", "a.b.D.test_y", "a.b.E.test_z"])
    assert [(one.test, one.outcome) for one in outcomes][2:] == [
        ("a.b.D.test_x", "skip"),
        ("a.b.D.test_y", "skip"),
    ]


def test_a_failure_in_a_tear_down_makes_no_passed_test_pass():
    outcomes = spread([said("a.C.test_x", "pass"), said("tearDownClass (a.C)", "fail")], ["a.C.test_x"])
    assert [(one.test, one.outcome) for one in outcomes] == [("a.C.test_x", "fail")]


def test_a_test_that_passed_before_may_neither_fail_nor_be_skipped_nor_be_missing():
    found = verdict([said("t.fails", "fail"), said("t.skips", "skip")], ["t.fails", "t.skips", "t.gone"], {})
    assert found.regressed == ["t.fails", "t.gone", "t.skips"]
    assert not found.is_good


def test_a_part_of_the_tests_says_nothing_about_the_others():
    assert verdict([said("t.a", "pass")], ["t.a", "t.b"], {}, is_whole=False).is_good


def test_a_failure_needs_a_reason():
    assert [one.test for one in verdict([said("t.a", "fail")], [], {}).unexplained] == ["t.a"]
    assert verdict([said("t.a", "fail")], [], {"t.a": "why"}).is_good


def test_a_reason_is_no_excuse_for_a_test_that_passed_before():
    assert verdict([said("t.a", "fail")], ["t.a"], {"t.a": "why"}).regressed == ["t.a"]


def test_a_reason_for_a_test_that_passes_is_named():
    found = verdict([said("t.a", "pass")], [], {"t.a": "why"})
    assert (found.stale, found.gained, found.is_good) == (["t.a"], ["t.a"], True)


def test_the_lists_name_tests_and_extensions_that_there_are():
    known = reference()
    extensions = {alias for said in known.values() for alias in said.extensions}
    judged = [test for test in [*named(PASSING), *accepted()] if not test.startswith(("openstack.", "nova."))]
    assert [test for test in judged if test not in known] == []
    assert extensions >= {"router", "qos"}
    assert len(set(named(SCOPE))) == len(named(SCOPE))


def test_no_test_is_both_passing_and_accepted_as_failing():
    assert sorted(set(named(PASSING)) & accepted().keys()) == []
    assert all(reason.strip() for reason in accepted().values()), ACCEPTED
