# SPDX-License-Identifier: Apache-2.0
"""`alcor db` looks into a log that is in use, and raises its format only when nobody is left who does not read it."""

import random
from pathlib import Path

import pytest

from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.errors import Unavailable
from alcor.cli import db
from alcor.cli.main import main
from alcor.features.control import SCHEMA
from alcor.store.log import sqlite_file
from alcor.store.log.contract import FORMAT
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Outside, Store

NEXT = FORMAT + 1


async def opened(state: Path) -> Store:
    """A process that has the log open."""
    return await Store.open(SCHEMA, SqliteLog(state / "alcor.db"), Outside(SystemClock(), random.Random(1)))


def upgrade(patch: pytest.MonkeyPatch) -> None:
    """What opens a log from here on is the next version."""
    for module in (sqlite_file, db):
        patch.setattr(module, "FORMAT", NEXT)


def run(state: Path, *words: str) -> int:
    return main(["db", *words, "--state", str(state)])


async def upgraded(state: Path, *, finish: bool = False) -> int:
    return await db.run("upgrade", Settings(state=state), finish=finish)


async def test_check_says_what_is_in_a_log_that_is_in_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = await opened(tmp_path)
    assert await db.run("check", Settings(state=tmp_path)) == 0
    told = capsys.readouterr().out
    assert f"revision {store.tables.revision}" in told
    assert "security_group_rule" in told
    await store.close()


def test_log_that_is_not_there_or_is_none_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for action in ("check", "upgrade"):
        assert run(tmp_path, action) == 1
        assert "there is no log at" in capsys.readouterr().err
    (tmp_path / "alcor.db").write_bytes(b"no log" * 1000)
    for action in ("check", "upgrade"):
        assert run(tmp_path, action) == 1
        assert "is no Alcor log" in capsys.readouterr().err


async def test_format_stays_as_it_is_until_it_is_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await (await opened(tmp_path)).close()
    assert await upgraded(tmp_path) == 0
    assert f"format {FORMAT}; this version reads and writes up to {FORMAT}." in capsys.readouterr().out
    upgrade(monkeypatch)
    await (await opened(tmp_path)).close()
    assert await upgraded(tmp_path) == 0
    told = capsys.readouterr().out
    assert f"format {FORMAT}; this version reads and writes up to {NEXT}." in told
    assert "alcor db upgrade --finish" in told


async def test_format_is_not_raised_under_an_older_version_and_is_once_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    older = await opened(tmp_path)
    upgrade(monkeypatch)
    present = await opened(tmp_path)
    assert await upgraded(tmp_path, finish=True) == 1
    assert "An older version" in capsys.readouterr().err
    await older.close()
    assert await upgraded(tmp_path, finish=True) == 0
    assert f"format {NEXT};" in capsys.readouterr().out
    await present.caught_up()
    await present.close()
    monkeypatch.undo()
    with pytest.raises(Unavailable, match="upgrade it"):
        await opened(tmp_path)


async def test_older_version_does_not_open_a_log_that_is_being_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await opened(tmp_path)).close()
    upgrade(monkeypatch)
    line = sqlite_file.Line(tmp_path / "alcor.db")
    with line.opening(), line.all_read():
        monkeypatch.undo()
        with pytest.raises(Unavailable, match="is being upgraded"):
            await opened(tmp_path)
    line.close()
    await (await opened(tmp_path)).close()
