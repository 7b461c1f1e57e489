# SPDX-License-Identifier: Apache-2.0
"""The whole of Alcor on one machine: the control plane as a process, and hosts with an agent process each.

Everything is done through the public doors: the REST API, the command line, and interfaces plugged into br-int.
"""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable
from ipaddress import ip_network
from types import TracebackType

import httpx

from alcor.base.net import Ip, Mac
from alcor.lab.errors import LabFailure
from alcor.lab.host import BRIDGE, READY_S_MAX, Host
from alcor.lab.process import Child
from alcor.lab.rest import Body, Rest
from alcor.lab.underlay import Underlay
from alcor.lab.vm import Vm, VmSpec

ALCOR = (sys.executable, "-m", "alcor")
LISTEN = "127.0.0.1:9696"  # asked for first; where it is taken, any free port serves
_POLL_S = 0.01


class Cloud:
    """A control plane and its hosts, for as long as it is entered.

    async with Cloud() as cloud:
        (host,) = await cloud.add_hosts("one")
        network = await cloud.rest.create("network", {"name": "blue"})
    """

    def __init__(self, listen: str = LISTEN, flags: tuple[str, ...] = (), is_apart: bool = False) -> None:
        self.underlay = Underlay()
        self.listen = free_address(listen)
        self.url = f"http://{self.listen}"
        self.rest = Rest(httpx.AsyncClient(base_url=self.url, timeout=30, trust_env=False))
        self.agents: dict[str, Child] = {}  # by host
        self.control: Child | None = None  # the process that answers the API
        self.pusher: Child | None = None  # where push is a process of its own
        self.agent_flags: Callable[[Host], tuple[str, ...]] = lambda host: ()  # beside those they need here
        self._flags = flags  # for the control plane, beside those it needs here
        self._is_apart = is_apart  # `alcor api` and `alcor push`, not `alcor all`

    @property
    def push(self) -> str:
        """Where agents find the control plane: network namespaces share the file system."""
        return f"unix:{self.underlay.directory}/push.sock"

    @property
    def _state(self) -> tuple[str, str]:
        return "--state", str(self.underlay.directory / "state")

    @property
    def hosts(self) -> list[Host]:
        """The hosts, in the order of their making."""
        return self.underlay.hosts

    async def __aenter__(self) -> "Cloud":
        await self.underlay.__aenter__()
        try:
            await self.start_control()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.underlay.__aexit__(kind, error, trace)
        finally:
            await self.rest.client.aclose()

    async def start_control(self) -> None:
        """Start the control plane, or only its API if push is apart and there, on the state it had.

        Returns when the API answers.
        """
        role: tuple[str, ...] = ("all", "--push-listen", self.push)
        if self._is_apart:
            role = ("api",)
            if self.pusher is None:
                self.start_push()
        where = (*self._state, "--listen", self.listen)
        self.control = self.underlay.spawn(*ALCOR, *role, *where, *self._flags, log="control.log")
        deadline = time.monotonic() + READY_S_MAX
        while not await self._answers():
            if not self.control.is_running:
                raise LabFailure(f"the control plane ended:\n{self.control.last_words()}")
            if time.monotonic() > deadline:
                raise LabFailure(f"{self.url} did not answer within {READY_S_MAX:.0f} s")
            await asyncio.sleep(_POLL_S)

    def start_push(self) -> None:
        """Start `alcor push` on the state it had, where it is a process of its own."""
        where = (*self._state, "--push-listen", self.push)
        self.pusher = self.underlay.spawn(*ALCOR, "push", *where, *self._flags, log="push.log")

    async def stop_push(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it, by SIGKILL if told so; the API and hosts go on without it; its exit status."""
        assert self.pusher is not None, "push has not been started apart"
        return await self.pusher.stop(number)

    async def stop_control(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the control plane, by SIGKILL if told so, and hosts go on without it; its exit status."""
        assert self.control is not None, "the control plane has not been started"
        return await self.control.stop(number)

    async def add_hosts(self, *names: str) -> list[Host]:
        """New hosts with their agents; the control plane knows them as alive when this returns."""
        hosts = await self.underlay.add_hosts(*names)
        for host in hosts:
            self.start_agent(host)
        await asyncio.gather(*map(self._until_alive, hosts))
        return hosts

    def start_agent(self, host: Host) -> None:
        """Start the host's agent, in the host's network."""
        flags = {
            "--host": host.name,
            "--push": self.push,
            "--bridge": BRIDGE,
            "--tunnel-ip": host.tunnel_ip,
            "--ovsdb": f"unix:{host.ovsdb_socket}",
            "--openflow-dir": str(host.directory),
        }
        words = [word for pair in flags.items() for word in pair]
        words += self.agent_flags(host)
        self.agents[host.name] = host.spawn(*ALCOR, "agent", *words, log="agent.log")

    async def stop_agent(self, host: Host, number: signal.Signals = signal.SIGTERM) -> int:
        """End the host's agent, by SIGKILL if told so, and its switch goes on without it; its exit status."""
        return await self.agents[host.name].stop(number)

    async def boot(self, host: Host, name: str, port: Body) -> Vm:
        """A virtual machine with the port's MAC and addresses, plugged into the host; the port is not bound by this."""
        return await host.add_vm(await self.vm_spec(name, port))

    async def vm_spec(self, name: str, port: Body) -> VmSpec:
        """What a virtual machine for this port is made from."""
        subnets = [await self.rest.show("subnet", fixed["subnet_id"]) for fixed in port["fixed_ips"]]
        lengths = [ip_network(subnet["cidr"]).prefixlen for subnet in subnets]
        ips = [Ip(fixed["ip_address"]) for fixed in port["fixed_ips"]]
        addresses = tuple(f"{ip}/{length}" for ip, length in zip(ips, lengths, strict=True))
        return VmSpec(name=name, port_id=port["id"], mac=Mac(port["mac_address"]), addresses=addresses)

    async def bind(self, port_id: str, host: str) -> float | None:
        """Milliseconds from asking for the binding until GET says ACTIVE; None if it never does."""
        start = time.monotonic()
        await self.rest.update("port", port_id, {"binding:host_id": host})
        if not await self.rest.until_active(port_id):
            return None
        return (time.monotonic() - start) * 1000

    async def _answers(self) -> bool:
        try:
            return (await self.rest.client.get("/")).is_success
        except httpx.TransportError:
            return False

    async def _until_alive(self, host: Host) -> None:
        agent = self.agents[host.name]
        deadline = time.monotonic() + READY_S_MAX
        while not any(seen["alive"] for seen in await self.rest.find("agent", host=host.name)):
            if not agent.is_running:
                raise LabFailure(f"the agent of host {host.name} ended:\n{agent.last_words()}")
            if time.monotonic() > deadline:
                raise LabFailure(f"the agent of host {host.name} is silent:\n{agent.last_words()}")
            await asyncio.sleep(_POLL_S)


def free_address(wanted: str) -> str:
    """`wanted` if nobody listens there, else the same host with a free port."""
    host, _, port = wanted.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError:
            probe.bind((host.strip("[]"), 0))
        return f"{host}:{probe.getsockname()[1]}"
