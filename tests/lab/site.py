# SPDX-License-Identifier: Apache-2.0
"""Two hosts with one virtual machine each, made through the REST API, for tests that end in packets."""

import asyncio
import itertools
import sqlite3
from contextlib import closing
from dataclasses import dataclass

from alcor.base.address import Address
from alcor.base.config import Settings
from alcor.lab import Host, Vm
from alcor.lab.cloud import Cloud
from alcor.lab.rest import Body
from alcor.push.ask import ask
from alcor.push.show import Shown

PORT = 8080  # where machines listen
UNTIL_S_MAX = 30.0
_NUMBERS = itertools.cycle(range(20, 250))  # the last ones of addresses


@dataclass(frozen=True)
class Site:
    """Two virtual machines of one network, on two hosts, bound and ACTIVE; `right` listens."""

    cloud: Cloud
    network: Body
    one: Host
    two: Host
    left: Vm
    right: Vm

    async def shown(self, what: str, name: str = "") -> Shown:
        """What `alcor show` is told."""
        return await shown_by(self.cloud, what, name)

    async def is_everywhere(self, revision: int) -> bool:
        """Whether every switch has all that concerns its host up to a revision of the log."""
        shown = await self.shown("hosts")
        return shown.revision >= revision and all(
            host.lag == 0 and not host.waiting_rows for host in shown.hosts
        )


async def shown_by(cloud: Cloud, what: str, name: str = "") -> Shown:
    """What `alcor show` is told."""
    shown = await ask(Settings(push=Address(cloud.push)), what, name)
    assert shown is not None, f"push knows no {what} {name}"
    return shown


async def new_site(cloud: Cloud) -> Site:
    """The site, in a cloud without hosts."""
    one, two = await cloud.add_hosts("one", "two")
    network = await new_network(cloud, "blue")
    left, right = await booted(cloud, network, one, "left"), await booted(cloud, network, two, "right")
    await right.listen(PORT)
    return Site(cloud, network, one, two, left, right)


async def new_network(cloud: Cloud, name: str) -> Body:
    """A network with the subnet that all of these have."""
    network = await cloud.rest.create("network", {"name": name})
    subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24"}
    await cloud.rest.create("subnet", subnet)
    return network


async def plugged(cloud: Cloud, network: Body, host: Host, name: str, **fields: object) -> tuple[Body, Vm]:
    """A port, and its virtual machine, whose interface waits for the binding.

    It gets an address that nobody had lately: kernels remember for seconds whom they met there, and these machines do
    not announce themselves.
    """
    fixed_ips = [{"ip_address": f"10.0.0.{next(_NUMBERS)}"}]
    wanted = {"network_id": network["id"], "name": name, "fixed_ips": fixed_ips, **fields}
    port = await cloud.rest.create("port", wanted)
    return port, await cloud.boot(host, name, port)


async def booted(cloud: Cloud, network: Body, host: Host, name: str, **fields: object) -> Vm:
    """A virtual machine whose port is ACTIVE."""
    port, vm = await plugged(cloud, network, host, name, **fields)
    assert await cloud.bind(port["id"], host.name) is not None
    return vm


def ip(vm: Vm) -> str:
    """Its first address."""
    return vm.spec.addresses[0].split("/")[0]


async def update_port(site: Site, vm: Vm, fields: Body) -> int:
    """PUT to the port of a machine; the revision of the log with which that is true."""
    answer = await site.cloud.rest.client.put(f"/v2.0/ports/{vm.spec.port_id}", json={"port": fields})
    assert answer.is_success, answer.text
    return int(answer.headers["x-alcor-revision"])


async def everywhere(site: Site, revision: int) -> None:
    """Returns when every host has acknowledged what concerns it up to the revision."""
    async with asyncio.timeout(UNTIL_S_MAX):
        while not await site.is_everywhere(revision):
            await asyncio.sleep(0.01)


async def gone(cloud: Cloud, vm: Vm) -> None:
    """The machine and its port are no more."""
    await vm.remove()
    await cloud.rest.delete("port", vm.spec.port_id)


def changes(cloud: Cloud, *vms: Vm) -> int:
    """How often the log says that the ports of these machines, or what was observed of them, changed.

    Without machines: any port's.
    """
    file = cloud.underlay.directory / "state" / "alcor.db"
    ports = [vm.spec.port_id for vm in vms]
    of_these = f"id IN ({','.join('?' * len(ports))})" if ports else "kind IN ('port', 'port_status')"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as log:
        (count,) = log.execute(f"SELECT count(*) FROM history WHERE {of_these}", ports).fetchone()
    assert count, "the log has the ports themselves, at least"
    return int(count)
