# SPDX-License-Identifier: Apache-2.0
"""What `alcor agent` says where neither Open vSwitch nor push is there (yet)."""

import asyncio
import sys
from pathlib import Path

from alcor.agent.plug import RETRY_S


async def test_agent_that_finds_nothing_says_at_once_and_once_which_settings_tell_where(
    tmp_path: Path,
) -> None:
    nowhere = (
        "--ovsdb",
        f"unix:{tmp_path}/db.sock",
        "--openflow-dir",
        str(tmp_path),
        "--push",
        f"unix:{tmp_path}/p",
    )
    argv = (sys.executable, "-m", "alcor", "agent", *nowhere)
    agent = await asyncio.create_subprocess_exec(*argv, stderr=asyncio.subprocess.PIPE)
    assert agent.stderr is not None
    said = b""
    async with asyncio.timeout(30):
        while said.count(b"(--") < 5:
            said += await agent.stderr.readline()
        await asyncio.sleep(2 * RETRY_S)
        agent.terminate()
        said += await agent.stderr.read()
    for flag in ("--ovsdb", "--openflow-dir", "--push", "--tunnel-ip"):
        assert said.count(f"({flag})".encode()) == 1, said.decode()
    assert said.count(b"\n") <= 8, "each once, however long it is tried"
    assert await agent.wait() == 0
