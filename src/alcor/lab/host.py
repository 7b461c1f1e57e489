# SPDX-License-Identifier: Apache-2.0
"""One host: a network namespace with its own Open vSwitch, as a hypervisor has it before any agent runs.

It has br-phy with the tunnel address, br-int that drops all (fail_mode=secure), and the tunnel ports. Flows, and the
warmth of tunnel neighbours, are the agent's work.
"""

import asyncio
import shutil
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alcor.base.net import Ip
from alcor.lab.errors import LabFailure
from alcor.lab.namespace import Namespace
from alcor.lab.process import Child, run
from alcor.lab.vm import Vm, VmSpec

Tunnel = Literal["vxlan", "geneve"]
BRIDGE = "br-int"
TUNNEL_PORTS: dict[Tunnel, str] = {"vxlan": "vx0", "geneve": "gnv0"}
READY_S_MAX = 20.0  # longest wait for a daemon on a busy machine
_POLL_S = 0.005


@dataclass(frozen=True)
class Wire:
    """What every host of one lab is connected to."""

    namespace: Namespace  # where the Linux bridge `wire` is
    prefix: str  # of the names of all namespaces of this lab
    directory: Path
    prefix_length: int  # of the tunnel network
    mtu: int  # bytes
    tunnels: tuple[Tunnel, ...]


class Host:
    """A host of the lab, made by `Underlay.add_hosts`."""

    def __init__(self, wire: Wire, name: str, tunnel_ip: Ip) -> None:
        self.wire = wire
        self.name = name
        self.tunnel_ip = tunnel_ip
        self.namespace = Namespace(f"{wire.prefix}-{name}")
        self.directory = wire.directory / name  # OVS's run directory
        self.vms: list[Vm] = []
        self.children: list[Child] = []  # by `spawn`, such as the agent
        self._database: Child | None = None
        self._vswitchd: Child | None = None

    @property
    def ovsdb_socket(self) -> Path:
        """The unix socket of the host's own OVSDB."""
        return self.directory / "db.sock"

    @property
    def bridge_mgmt(self) -> Path:
        """The unix socket on which br-int speaks OpenFlow."""
        return self.directory / f"{BRIDGE}.mgmt"

    @property
    def vswitchd_control(self) -> Path:
        """The unix socket for `ovs-appctl -t`."""
        return self.directory / "vsw.ctl"

    @property
    def switch_processes(self) -> list[Child]:
        """The daemons of Open vSwitch that have been started, vswitchd first."""
        return [child for child in (self._vswitchd, self._database) if child is not None]

    async def start(self) -> None:
        """Bring the host up; returns when br-int answers."""
        self.directory.mkdir()
        shutil.copyfile(self.wire.directory / "new.db", self.directory / "conf.db")
        await self.namespace.create()
        await asyncio.gather(self._connect_wire(), self.start_ovsdb())
        await self._configure()
        await self.start_vswitchd()
        await self.namespace.ip(
            f"addr add {self.tunnel_ip}/{self.wire.prefix_length} dev br-phy", "link set br-phy up"
        )

    async def add_vm(self, spec: VmSpec, plug: bool = True) -> Vm:
        """A new virtual machine on this host; with `plug`, its interface is in br-int when this returns."""
        vm = Vm(self, spec)
        self.vms.append(vm)
        await vm.start()
        if plug:
            await vm.plug()
        return vm

    async def add_physical_bridge(self, bridge: str = "br-phys") -> None:
        """An operator's bridge to the lab's physical network: the Linux bridge `physical` beside the wire."""
        link, mtu = f"{self.name}-p", self.wire.mtu
        await self.wire.namespace.ip(
            f"link add {link} mtu {mtu} type veth peer name phy1 mtu {mtu} netns {self.namespace.name}",
            f"link set {link} master physical up",
        )
        await self.namespace.ip("link set phy1 up")
        await self.vsctl(
            *f"add-br {bridge} -- set bridge {bridge} datapath_type=netdev fail_mode=standalone".split(),
            *f"-- add-port {bridge} phy1".split(),
        )

    async def vsctl(self, *words: str) -> str:
        """Run `ovs-vsctl` on this host's database; waits until vswitchd has done it."""
        return await run(
            "ovs-vsctl", f"--db=unix:{self.ovsdb_socket}", f"--timeout={READY_S_MAX:.0f}", *words
        )

    async def ofctl(self, command: str, *words: str, stdin: str = "") -> str:
        """Run `ovs-ofctl COMMAND` on br-int; `words` follow the bridge."""
        return await run(
            "ovs-ofctl", "-O", "OpenFlow14", command, f"unix:{self.bridge_mgmt}", *words, stdin=stdin
        )

    async def appctl(self, *words: str) -> str:
        """Run `ovs-appctl` on this host's vswitchd."""
        return await run("ovs-appctl", "-t", str(self.vswitchd_control), *words)

    async def ofport(self, interface: str) -> int:
        """The OpenFlow port number of an interface."""
        return int(await self.vsctl("get", "interface", interface, "ofport"))

    def spawn(self, *argv: str, log: str) -> Child:
        """Run a command in this host's network, such as its agent, until the lab ends; files are the machine's."""
        child = Child(("ip", "netns", "exec", self.namespace.name, *argv), self.directory / log, {})
        self.children.append(child)
        return child

    async def start_ovsdb(self) -> None:
        """Start the database on what it had; returns when it listens."""
        self._database = self._daemon(
            "ovsdb-server",
            f"{self.directory}/conf.db",
            f"--remote=punix:{self.ovsdb_socket}",
            f"--unixctl={self.directory}/ovsdb.ctl",
        )
        await self._wait_for(self.ovsdb_socket)

    async def stop_ovsdb(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the database, by SIGKILL if told so; vswitchd stays. `start_ovsdb` brings it back."""
        assert self._database is not None, f"host {self.name} has not been started"
        await self._database.stop(number)
        self._database = None
        self.ovsdb_socket.unlink(missing_ok=True)

    async def start_vswitchd(self) -> None:
        """Start it, with no flow in it; returns when it has read its database and br-int answers."""
        self.bridge_mgmt.unlink(missing_ok=True)
        self._vswitchd = self._daemon(
            "ovs-vswitchd", f"unix:{self.ovsdb_socket}", f"--unixctl={self.vswitchd_control}"
        )
        await self._wait_for(self.bridge_mgmt)
        await self.vsctl("set", "Open_vSwitch", ".", "external_ids:lab=ready")

    async def restart_vswitchd(self) -> None:
        """Stop it as an upgrade does, and start it again."""
        await self._running_vswitchd().stop()
        await self.start_vswitchd()

    async def kill_vswitchd(self) -> None:
        """Let it crash; `start_vswitchd` brings it back."""
        await self._running_vswitchd().stop(signal.SIGKILL)
        self._vswitchd = None  # it is awaited no more

    def _running_vswitchd(self) -> Child:
        assert self._vswitchd is not None, f"host {self.name} has not been started"
        return self._vswitchd

    def _daemon(self, program: str, *words: str) -> Child:
        # As a child, never with --detach: a daemon whose parent is process 1 may stay a zombie for seconds.
        log = self.directory / f"{program}.log"
        return Child(
            ("ip", "netns", "exec", self.namespace.name, program, *words, "-vsyslog:off", "-vconsole:info"),
            log,
            {name: str(self.directory) for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR")},
        )

    async def _connect_wire(self) -> None:
        self.namespace.set_sysctl(
            "net/ipv6/conf/default/disable_ipv6", 1
        )  # The switch's links say nothing themselves.
        # Only br-phy may answer for its address; an answer from phy0 would send tunnels to where no switch listens.
        self.namespace.set_sysctl("net/ipv4/conf/all/arp_ignore", 1)
        mtu, wire = self.wire.mtu, self.wire.namespace
        await wire.ip(
            f"link add {self.name} mtu {mtu} type veth peer name phy0 mtu {mtu} netns {self.namespace.name}",
            f"link set {self.name} master wire up",
        )
        await self.namespace.ip("link set phy0 up")
        wire.fill_checksums(self.name)
        self.namespace.fill_checksums("phy0")

    async def _configure(self) -> None:
        tunnels = [self._tunnel_words(kind) for kind in self.wire.tunnels]
        words = (
            f"init -- set Open_vSwitch . other_config:n-handler-threads=1 other_config:n-revalidator-threads=1"
            f" external_ids:system-id={self.name} external_ids:hostname={self.name}"
            f" -- add-br br-phy -- set bridge br-phy datapath_type=netdev fail_mode=standalone"
            f" -- set interface br-phy mtu_request={self.wire.mtu} -- add-port br-phy phy0"
            f" -- add-br {BRIDGE} -- set bridge {BRIDGE} datapath_type=netdev fail_mode=secure"
            f" protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15 {' '.join(tunnels)}"
        )
        await self.vsctl("--no-wait", *words.split())

    def _tunnel_words(self, kind: Tunnel) -> str:
        port = TUNNEL_PORTS[kind]
        return (
            f"-- add-port {BRIDGE} {port} -- set interface {port} type={kind}"
            f" options:key=flow options:remote_ip=flow options:local_ip={self.tunnel_ip}"
        )

    async def _wait_for(self, path: Path) -> None:
        deadline = asyncio.get_running_loop().time() + READY_S_MAX
        while not _listens(path):
            for child in self.switch_processes:
                if not child.is_running:
                    raise LabFailure(f"{child.argv} on host {self.name} ended:\n{child.last_words()}")
            if asyncio.get_running_loop().time() > deadline:
                raise LabFailure(f"{path} did not appear within {READY_S_MAX:.0f} s on host {self.name}")
            await asyncio.sleep(_POLL_S)


def _listens(path: Path) -> bool:
    """Whether somebody does: a socket is in its place a moment before."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True
