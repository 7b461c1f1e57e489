# SPDX-License-Identifier: Apache-2.0
"""A newcomer who types what docs/run.md says, word for word, has two machines that ping each other."""

import asyncio
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Places of its own for what stands in usual places, and Open vSwitch as Debian's package starts it.
ALONE = """
set -ex
for place in /run /var/lib; do mount -t tmpfs none $place; done
mkdir /run/openvswitch
ip link set lo up
"""
INSTALLED = """
ovsdb-tool create /run/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server /run/openvswitch/conf.db --remote=punix:/run/openvswitch/db.sock --pidfile --detach -vconsole:off
ovs-vsctl --no-wait init
ovs-vswitchd --pidfile --detach -vconsole:off
"""
WAIT = """
while ! (echo > /dev/tcp/127.0.0.1/9696) 2> /dev/null; do sleep 0.1; done
"""


def steps() -> list[str]:
    """The commands of the page's part, in order."""
    part = (ROOT / "docs/run.md").read_text().split("## Step by step")[1].split("\n## ")[0]
    lines = [line[4:] for line in part.splitlines() if line.startswith("    ")]
    assert len(lines) > 10
    return lines


@pytest.mark.ovs
async def test_what_the_page_says_step_by_step_ends_in_a_ping() -> None:
    script = ALONE
    for line in steps():
        is_install = line.startswith("apt-get install")
        script += (
            INSTALLED if is_install else line.replace(".venv/bin", str(Path(sys.executable).parent)) + "\n"
        )
        script += WAIT if line.startswith("export OS_") else ""
    alone = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-c", script)
    pipe = asyncio.subprocess.PIPE
    run = await asyncio.create_subprocess_exec(
        *alone, cwd=ROOT, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(240):
        said, _ = await run.communicate()
    text = said.decode()
    assert run.returncode == 0, text
    assert "3 packets transmitted, 3 received" in text
    assert text.count("| ACTIVE |") == 2
    assert "Difference: none. It has what is wanted, and so has its switch." in text
