# SPDX-License-Identifier: Apache-2.0
"""Commands and children of a lab: none may hang it, and each says why it failed."""

import asyncio
import time
from pathlib import Path

import pytest

from alcor.lab import LabFailure, process


def wait_for(word: str, child: process.Child) -> None:
    """Returns when the child has printed this."""
    while word not in child.last_words():
        time.sleep(0.005)


async def test_command_gives_what_it_printed() -> None:
    assert await process.run("cat", stdin="one\ntwo\n") == "one\ntwo\n"


async def test_failing_command_is_reported_with_its_complaint() -> None:
    with pytest.raises(LabFailure, match=r"`ls /absent/path` failed: .*No such file"):
        await process.run("ls", "/absent/path")


async def test_command_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "COMMAND_S_MAX", 0.05)
    with pytest.raises(LabFailure, match="did not end"):
        await process.run("sleep", "1000")


async def test_child_that_ignores_being_told_to_stop_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "STOP_S_MAX", 0.1)
    script = "trap '' TERM; echo deaf; while :; do sleep 0.01; done"
    child = process.Child(("sh", "-c", script), tmp_path / "log", {})
    await asyncio.to_thread(wait_for, "deaf", child)
    assert await child.stop() == -9
    assert not child.is_running


async def test_child_sees_its_environment_and_its_output_is_kept(tmp_path: Path) -> None:
    child = process.Child(("sh", "-c", "echo $GREETING"), tmp_path / "log", {"GREETING": "hello"})
    assert child.wait() == 0
    assert child.last_words() == "hello"
    assert child.pid > 0
