# SPDX-License-Identifier: Apache-2.0
"""`alcor demo` as a newcomer runs it: on real switches, with `--keep`, and what its exit status says."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from alcor.cli.demo import play, run
from alcor.lab import cloud

DEMO = (sys.executable, "-m", "alcor", "demo")


def namespaces(pid: int) -> list[Path]:
    """What a demo's lab has on this machine."""
    return list(Path("/run/netns").glob(f"alcor-{pid}-*"))


@pytest.mark.ovs
async def test_demo_on_real_switches_sees_what_is_expected() -> None:
    demo = await asyncio.create_subprocess_exec(*DEMO, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(120):
        told, _ = await demo.communicate()
    assert demo.returncode == 0, told.decode()
    assert "all 44 as expected" in told.decode()


@pytest.mark.ovs
async def test_demo_that_is_kept_says_how_to_play_with_it_until_it_is_told_to_end() -> None:
    demo = await asyncio.create_subprocess_exec(*DEMO, "--keep", stdout=asyncio.subprocess.PIPE)
    assert demo.stdout is not None
    async with asyncio.timeout(120):
        lines = []
        while not (lines and "network list" in lines[-1]):
            lines.append((await demo.stdout.readline()).decode())
        url = lines[-1].partition("--os-endpoint ")[2].split()[0]
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            networks = (await client.get("/v2.0/networks")).json()["networks"]
        demo.send_signal(signal.SIGINT)
        rest = (await demo.stdout.read()).decode()
        assert await demo.wait() == 0
    assert {network["name"] for network in networks} == {"blue", "red"}
    assert f"ip netns exec alcor-{demo.pid}-" in rest
    assert namespaces(demo.pid) == []


@pytest.mark.ovs
async def test_demo_without_a_control_plane_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cloud, "ALCOR", ("false",))
    assert await run(keep=False, fake=False) == 1
    assert "the control plane ended" in capsys.readouterr().out


async def test_demo_on_the_fake_switch_sees_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert await run(keep=True, fake=True) == 0
    told = capsys.readouterr().out
    assert "all 44 as expected" in told
    assert "Nothing is left to play with" in told


async def test_demo_without_root_says_so_and_plays_on_the_fake_switch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert await run(keep=False, fake=False) == 0
    told = capsys.readouterr().out
    assert "Real switches need root" in told
    assert "all 44 as expected" in told


async def test_demo_on_the_fake_switch_fails_where_it_sees_something_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    upside_down = {pair: not is_expected for pair, is_expected in play.expected_pings().items()}
    monkeypatch.setattr(play, "expected_pings", lambda: upside_down)
    assert await run(keep=False, fake=True) == 1
    assert "30 of 44 differ" in capsys.readouterr().out


async def test_change_that_packets_never_feel_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(play, "CHANGE_S_MAX", 0.0)
    assert await run(keep=False, fake=True) == 1
    assert "db was silent to it never" in capsys.readouterr().out
