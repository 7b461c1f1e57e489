# SPDX-License-Identifier: Apache-2.0
"""What a run answers its caller: a status, and the lists and pages that it was asked to write."""

from pathlib import Path

import pytest

from tests.peers import environments, report, run
from tests.peers.outcomes import Outcome, reference

FIRST, SECOND = sorted(reference())[:2]


@pytest.fixture
def passing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The list of passing tests, for this test alone; it names the first of Neutron's."""
    monkeypatch.setenv("CONFORMANCE_FOLDER", str(tmp_path))
    monkeypatch.setattr(run, "PASSING", tmp_path / "passing.txt")
    monkeypatch.setattr(report, "PAGE", tmp_path / "page.md")
    (tmp_path / "passing.txt").write_text(f"{FIRST}\n")
    return tmp_path / "passing.txt"


def status(monkeypatch: pytest.MonkeyPatch, outcomes: list[Outcome], *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["conformance", *words])
    monkeypatch.setattr(run, "judge", lambda options: run.Judged(outcomes, {}, {}, (0, 0.0)))
    return run.main()


def test_a_run_fails_when_a_test_stops_passing(
    passing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert status(monkeypatch, [Outcome(FIRST, "fail", 1.0, "Conflict")]) == 1
    assert f"stopped passing: {FIRST}" in capsys.readouterr().out
    assert status(monkeypatch, [Outcome(FIRST, "pass", 1.0)]) == 0


def test_a_run_records_what_passes_only_when_told(passing: Path, monkeypatch: pytest.MonkeyPatch):
    both = [Outcome(FIRST, "pass", 1.0), Outcome(SECOND, "pass", 1.0)]
    status(monkeypatch, both)
    assert passing.read_text() == f"{FIRST}\n"
    status(monkeypatch, both, "--record")
    assert passing.read_text() == f"{FIRST}\n{SECOND}\n"
    assert report.PAGE.read_text().startswith("# Conformance")


def test_recording_a_part_of_the_tests_forgets_no_other(passing: Path, monkeypatch: pytest.MonkeyPatch):
    status(monkeypatch, [Outcome(SECOND, "pass", 1.0)], "--record", "--tests", "x")
    assert passing.read_text() == f"{FIRST}\n{SECOND}\n"
    assert not report.PAGE.exists()


def test_a_run_without_a_package_index_fails_and_says_so(
    passing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["conformance"])
    monkeypatch.setattr(environments.sys, "executable", "false")
    assert run.main() == 1
    assert "It needs a package index" in capsys.readouterr().err
    assert passing.read_text() == f"{FIRST}\n"
