# SPDX-License-Identifier: Apache-2.0
"""Hints for Open vSwitch arrive in its database, at the interface of the port's machine, and leave it again."""

import asyncio

import pytest

from alcor.lab import Vm
from tests.lab.site import Site, update_port

pytestmark = [pytest.mark.ovs, pytest.mark.asyncio(loop_scope="module")]


async def until_set(vm: Vm, wanted: str) -> None:
    """Returns when the interface's `other_config` is as ovs-vsctl prints it."""
    async with asyncio.timeout(10):
        while (await vm.host.vsctl("get", "interface", vm.tap, "other_config")).strip() != wanted:
            await asyncio.sleep(0.02)


def hints(steering: str) -> dict[str, object]:
    return {"hints": {"openvswitch": {"other_config": {"tx-steering": steering}}}}


async def test_tx_steering_is_that_of_the_ports_hints(site: Site) -> None:
    vm = site.left
    await vm.host.vsctl("set", "interface", vm.tap, "other_config:mine=kept")
    await update_port(site, vm, hints("hash"))
    await until_set(vm, "{mine=kept, tx-steering=hash}")
    await update_port(site, vm, hints("thread"))
    await until_set(vm, "{mine=kept, tx-steering=thread}")
    await vm.host.vsctl("remove", "interface", vm.tap, "other_config", "tx-steering")
    await until_set(vm, "{mine=kept, tx-steering=thread}")

    await site.cloud.stop_agent(site.one)
    await update_port(site, vm, {"hints": None})
    site.cloud.start_agent(site.one)
    await until_set(vm, "{mine=kept}")
