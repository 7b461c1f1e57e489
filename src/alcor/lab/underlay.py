# SPDX-License-Identifier: Apache-2.0
"""The wire between the hosts, and the owner of everything that a lab makes on this machine.

Whatever happens (an exception, SIGTERM, the end of the interpreter), namespaces, processes and files go; what a
killed lab left behind goes when the next one starts.
"""

import asyncio
import atexit
import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
from ipaddress import IPv4Network
from pathlib import Path
from types import FrameType, TracebackType

from alcor.base.net import Ip
from alcor.lab.errors import LabFailure
from alcor.lab.host import Host, Tunnel, Wire
from alcor.lab.namespace import NAMESPACES, Namespace
from alcor.lab.process import Child, run, stop_all

ROOT = Path("/tmp")  # A short path: a unix socket's may have 107 bytes.
UNDERLAY_MTU = 1600  # A virtual machine's 1450 and any tunnel header
SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
_HOST_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")  # also the name of a link: at most 15 bytes
_INSTALL = "RUNLEVEL=1 apt-get install -y --no-install-recommends openvswitch-switch iproute2"


class Underlay:
    """One Linux bridge in a namespace of its own, and the hosts on it.

        async with Underlay() as underlay:
            one, two = await underlay.add_hosts("one", "two")

    Only root may enter one. Nothing of the machine's own networking is touched.
    """

    def __init__(self, network: str = "10.99.0.0/16", tunnels: tuple[Tunnel, ...] = ("vxlan",)) -> None:
        self.prefix = f"alcor-{os.getpid()}-{secrets.token_hex(3)}"
        self.directory = ROOT / self.prefix
        self.network = IPv4Network(network)
        self.namespace = Namespace(f"{self.prefix}-wire")
        self.wire = Wire(
            self.namespace,
            self.prefix,
            self.directory,
            self.network.prefixlen,
            mtu=UNDERLAY_MTU,
            tunnels=tunnels,
        )
        self.hosts: list[Host] = []
        self.children: list[Child] = []  # started outside of any host, stopped first

    async def __aenter__(self) -> "Underlay":
        refuse_without_means()
        sweep_leftovers()
        atexit.register(self._tear_down)
        _exit_on_sigterm()
        try:
            await self._build()
        except BaseException:
            self._tear_down()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for vm in [vm for host in self.hosts for vm in host.vms]:
            vm.hang_up()
        self._tear_down()

    async def add_hosts(self, *names: str) -> list[Host]:
        """New hosts, started side by side; each answers on its bridge and its database when this returns."""
        first = len(self.hosts) + 1
        for name in names:
            if not _HOST_NAME.fullmatch(name):
                raise LabFailure(f"A host's name is 1 to 12 of a-z, 0-9 and '-', and '{name}' is not")
        made = [
            Host(self.wire, name, Ip(str(self.network[number])))
            for number, name in enumerate(names, start=first)
        ]
        self.hosts += made
        await asyncio.gather(*(host.start() for host in made))
        return made

    def spawn(self, *argv: str, log: str) -> Child:
        """Run a command of the control plane beside the hosts, in the machine's own network, until the lab ends."""
        child = Child(argv, self.directory / log, {})
        self.children.append(child)
        return child

    async def _build(self) -> None:
        self.directory.mkdir(mode=0o700)
        await asyncio.gather(
            self.namespace.create(), run("ovsdb-tool", "create", str(self.directory / "new.db"), str(SCHEMA))
        )
        await self.namespace.ip(
            f"link add wire mtu {UNDERLAY_MTU} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link set wire up",
            f"link add physical mtu {UNDERLAY_MTU} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            "link set physical up",
        )

    def _tear_down(self) -> None:
        # Plain calls, no await: it must also run when the loop is being cancelled, or is gone.
        atexit.unregister(self._tear_down)
        stop_all(self.children, signal.SIGTERM)
        stop_all([child for host in self.hosts for child in host.children], signal.SIGTERM)
        stop_all([child for host in self.hosts for child in host.switch_processes], signal.SIGKILL)
        _remove(self.prefix)


def refuse_without_means() -> None:
    """Raises LabFailure, with the way out, if hosts cannot be made on this machine by this user."""
    if os.geteuid() != 0:
        raise LabFailure("Hosts with real switches need network namespaces: run this as root (sudo)")
    missing = [
        name for name in ("ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ip") if not shutil.which(name)
    ]
    if missing:
        raise LabFailure(f"{', '.join(missing)} not found on this machine: install with `{_INSTALL}`")


def sweep_leftovers() -> None:
    """Remove the namespaces and directories of labs whose process is no more."""
    for prefix in {left.group() for left in _traces() if not Path("/proc", left.group(1)).exists()}:
        _remove(prefix)


def _traces() -> list[re.Match[str]]:
    names = [*ROOT.glob("alcor-*"), *NAMESPACES.glob("alcor-*")]
    return [found for path in names if (found := re.match(r"alcor-(\d+)-[0-9a-f]{6}", path.name))]


def _remove(prefix: str) -> None:
    namespaces = [path.name for path in NAMESPACES.glob(f"{prefix}-*")]
    lines = "".join(f"netns del {name}\n" for name in namespaces)
    # A namespace that somebody else removed first is as gone as one removed here.
    subprocess.run(("ip", "-force", "-batch", "-"), input=lines, text=True, capture_output=True, check=False)
    shutil.rmtree(ROOT / prefix, ignore_errors=True)


def _exit_on_sigterm() -> None:
    """Make SIGTERM unwind the stack, so that `async with` ends in order; unless somebody handles it already."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
