# SPDX-License-Identifier: Apache-2.0
"""A lab leaves nothing behind, however it ends, and says what it lacks before it begins."""

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from alcor.lab import LabFailure, Underlay
from alcor.lab.underlay import sweep_leftovers

LAB = """
import asyncio, signal
from alcor.lab import Underlay

async def stay():
    async with Underlay() as underlay:
        (host,) = await underlay.add_hosts("one")
        host.spawn("sleep", "1000", log="sleep.log")
        print(underlay.prefix, *(child.pid for child in [*host.switch_processes, *host.children]), flush=True)
        await asyncio.sleep(1000)

signal.signal(signal.SIGTERM, signal.SIG_DFL)  # A coverage run has put its own there.
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell may have started the tests with it ignored.
asyncio.run(stay())
"""


def traces(prefix: str) -> list[Path]:
    """Namespaces and directories of a lab."""
    return [*Path("/run/netns").glob(f"{prefix}*"), *Path("/tmp").glob(f"{prefix}*")]


def links() -> list[Path]:
    """Links of the machine's own network."""
    return sorted(Path("/sys/class/net").iterdir())


def running(pids: list[str]) -> list[str]:
    """Those of the processes that have not ended; one that waits to be reaped has."""
    states = {pid: Path("/proc", pid, "stat") for pid in pids}
    return [pid for pid, stat in states.items() if stat.exists() and stat.read_text().split()[2] != "Z"]


def all_ended(pids: list[str]) -> None:
    """Returns when none of the processes runs."""
    while running(pids):
        time.sleep(0.02)


async def ended(number: signal.Signals) -> tuple[str, list[str]]:
    """The prefix and the processes of a lab that has got this signal."""
    lab = await asyncio.create_subprocess_exec(sys.executable, "-c", LAB, stdout=asyncio.subprocess.PIPE)
    assert lab.stdout is not None
    async with asyncio.timeout(30):
        prefix, *pids = (await lab.stdout.readline()).decode().split()
        assert traces(prefix)
        assert running(pids) == pids
        lab.send_signal(number)
        await lab.wait()
    return prefix, pids


@pytest.mark.ovs
async def test_lab_that_ends_leaves_no_namespace_process_or_file() -> None:
    async with Underlay() as underlay:
        (host,) = await underlay.add_hosts("one")
        underlay.spawn("sleep", "1000", log="sleep.log")
        pids = [str(child.pid) for child in [*host.switch_processes, *underlay.children]]
        assert traces(underlay.prefix)
    assert not traces(underlay.prefix)
    assert not running(pids)


@pytest.mark.ovs
async def test_lab_that_fails_leaves_nothing() -> None:
    underlay = Underlay()

    async def fail() -> None:
        async with underlay:
            await underlay.add_hosts("one")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert not traces(underlay.prefix)


@pytest.mark.ovs
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_lab_that_is_told_to_end_leaves_nothing(number: signal.Signals) -> None:
    prefix, pids = await ended(number)
    assert not traces(prefix)
    assert not running(pids)


@pytest.mark.ovs
async def test_killed_lab_takes_its_processes_along_and_the_next_sweeps_the_rest() -> None:
    prefix, pids = await ended(signal.SIGKILL)
    async with asyncio.timeout(10):
        await asyncio.to_thread(all_ended, pids)
    assert traces(prefix)
    sweep_leftovers()
    assert not traces(prefix)


@pytest.mark.ovs
async def test_sweeping_spares_a_lab_that_is_alive() -> None:
    async with Underlay() as underlay:
        before = traces(underlay.prefix)
        sweep_leftovers()
        assert traces(underlay.prefix) == before


@pytest.mark.ovs
async def test_lab_leaves_the_networking_of_the_machine_alone() -> None:
    before = links()
    async with Underlay() as underlay:
        await underlay.add_hosts("one")
        assert links() == before


async def test_lab_without_root_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabFailure, match="root"):
        async with Underlay():
            pytest.fail("entered without root")


async def test_lab_without_open_vswitch_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: None if name.startswith("ovs") else name)
    with pytest.raises(
        LabFailure, match=r"ovs-vswitchd, ovsdb-server, ovsdb-tool not found.*apt-get install"
    ):
        async with Underlay():
            pytest.fail("entered without Open vSwitch")
