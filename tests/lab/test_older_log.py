# SPDX-License-Identifier: Apache-2.0
"""An older copy of the log is put under running processes and agents of real switches: packets go as it says."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from alcor.base.address import Address
from alcor.base.config import Settings
from alcor.lab import LabFailure, Vm
from alcor.lab.cloud import Cloud
from alcor.push.ask import ask
from tests.cli.roles import copy_log, replace_log
from tests.lab.site import PORT, UNTIL_S_MAX, Site, booted, everywhere, gone, ip, new_site, update_port

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    """API and push apart: neither tells the other that the file is another one."""
    async with Cloud(is_apart=True) as cloud:
        yield await new_site(cloud)


async def reaches(one: Vm, other: Vm) -> bool:
    return await one.ping(ip(other), tries=3) is not None


async def until_known_again(site: Site, port: str) -> None:
    """Returns when API and push, each for itself, have read the log in which the port is."""
    async with asyncio.timeout(UNTIL_S_MAX):
        while not await is_active(site, port) or await ask(pushed(site), "row", port) is None:
            await asyncio.sleep(0.05)


def pushed(site: Site) -> Settings:
    return Settings(push=Address(site.cloud.push))


async def is_active(site: Site, port: str) -> bool:
    try:
        return bool((await site.cloud.rest.show("port", port))["status"] == "ACTIVE")
    except LabFailure:  # not known yet, or the log is being read again
        return False


async def test_older_copy_of_the_log_decides_what_real_switches_let_through(
    site: Site, tmp_path: Path
) -> None:
    cloud, rest = site.cloud, site.cloud.rest
    log = cloud.underlay.directory / "state" / "alcor.db"
    goes = await booted(cloud, site.network, site.one, "goes")
    shut = await booted(cloud, site.network, site.two, "shut")
    assert await reaches(site.left, goes)
    assert await reaches(site.left, shut)
    copy_log(log, tmp_path / "older.db")

    closed = (await rest.create("security_group", {"name": "closed"}))["id"]
    await rest.delete("port", goes.spec.port_id)  # its interface stays plugged in
    later = await booted(cloud, site.network, site.one, "later")
    await everywhere(site, await update_port(site, shut, {"security_groups": [closed]}))
    assert await reaches(later, site.right)
    for refused in (goes, shut):
        assert await site.left.ping(ip(refused), timeout_s=0.3) is None

    async with site.left.stream(ip(site.right), PORT) as stream, site.left.pinging(ip(site.right)) as ping:
        replace_log(log, tmp_path / "older.db")
        await until_known_again(site, goes.spec.port_id)
        await everywhere(site, (await site.shown("hosts")).revision)
        assert await stream.is_alive()
    assert ping.lost == 0, "what both copies allow goes on"
    for allowed in (goes, shut):
        assert await reaches(site.left, allowed)
    assert await later.ping(ip(site.right), timeout_s=0.3) is None
    with pytest.raises(LabFailure, match="404"):
        await rest.show("port", later.spec.port_id)
    for host in (site.one, site.two):
        [shown] = (await site.shown("host", host.name)).hosts
        assert shown.held is not None
        assert shown.held.flows is not None
        assert shown.held.flows.differing == 0
        assert {scope.state for scope in shown.scope_states} == {"same"}

    after = await booted(cloud, site.network, site.two, "after")
    assert await reaches(after, goes)
    await later.remove()
    for vm in (goes, shut, after):
        await gone(cloud, vm)
