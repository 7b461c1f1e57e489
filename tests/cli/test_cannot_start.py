# SPDX-License-Identifier: Apache-2.0
"""What `alcor all` says where another has its addresses, and `alcor show` where nobody has push's."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest


async def ended(*words: str) -> tuple[int | None, str]:
    """The exit status of a command, and the last line that it said."""
    argv = (sys.executable, "-m", "alcor", *words)
    process = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        _, said = await process.communicate()
    return process.returncode, said.decode().splitlines()[-1]


@pytest.mark.parametrize(("what", "flag"), [("the API", "--listen"), ("push", "--push-listen")])
async def test_taken_address_is_named_with_the_setting_that_chooses_another(
    tmp_path: Path, what: str, flag: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        free = {"--listen": "127.0.0.1:0", "--push-listen": "127.0.0.1:0", flag: address}
        flags = [word for pair in free.items() for word in pair]
        status, said = await ended("all", "--state", str(tmp_path), *flags)
    assert status == 1
    assert f"{what} cannot listen on {address}: " in said
    assert f"({flag})" in said


async def test_show_without_a_push_says_which_setting_tells_where_it_is(tmp_path: Path) -> None:
    status, said = await ended("show", "hosts", "--push", f"unix:{tmp_path}/nobody")
    assert status == 1
    assert said.startswith(f"alcor: unix:{tmp_path}/nobody says UNAVAILABLE: ")
    assert said.endswith("start push, or set push (--push) to where it listens")


@pytest.mark.parametrize("hosts", ["0", "-1", "many"])
async def test_emulating_no_hosts_is_refused(hosts: str) -> None:
    status, said = await ended("emulate", f"--hosts={hosts}")
    assert status == 2
    assert f"{hosts} is no number of hosts" in said
