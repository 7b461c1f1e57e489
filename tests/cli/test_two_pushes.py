# SPDX-License-Identifier: Apache-2.0
"""Two `alcor push` as processes on one SQLite file: a host that goes from one to the other stays alive."""

import asyncio
import signal
import sys
from pathlib import Path

from alcor.lab.process import Child
from tests.cli.roles import Roles, roles, until

GRACE_S = 2


def start_second(cloud: Roles, folder: Path) -> str:
    """Starts another push on the same log; answers where it listens."""
    address = f"unix:{folder}/push2.sock"
    words = ("push", "--state", str(cloud.log.parent), "--push-listen", address)
    grace = ("--silence-grace-s", str(GRACE_S))
    cloud.running["push2"] = Child((sys.executable, "-m", "alcor", *words, *grace), folder / "push2.log", {})
    return address


async def alive(cloud: Roles) -> dict[str, bool]:
    return {agent["host"]: agent["alive"] for agent in await cloud.apis["one"].find("agent")}


async def test_host_of_one_push_is_called_gone_by_that_one_only(tmp_path: Path) -> None:
    async with roles(tmp_path) as (cloud, _):
        address = start_second(cloud, tmp_path)
        words = ("emulate", "--hosts", "1", "--prefix", "late", "--push", address)
        cloud.running["late"] = Child((sys.executable, "-m", "alcor", *words), tmp_path / "late.log", {})
        before = await alive(cloud)

        async def all_eleven() -> bool:
            seen = await alive(cloud)
            return len(seen) == len(before) + 1 and all(seen.values())

        await until(all_eleven)
        await asyncio.sleep(GRACE_S * 2)  # the hosts of the first are none that the second misses
        assert await all_eleven()

        await cloud.running["late"].stop(signal.SIGKILL)

        async def only_late_is_gone() -> bool:
            seen = await alive(cloud)
            return [host for host in seen if not seen[host]] == [host for host in seen if host not in before]

        await until(only_late_is_gone)
