# SPDX-License-Identifier: Apache-2.0
"""One Open vSwitch in a network namespace of its own, with ports whose far ends the test holds as raw sockets."""

import asyncio
import ctypes
import os
import select
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path
from typing import TypeVar

from alcor.agent.switch import Failure, Switch
from alcor.dataplane.values import Flow, Output, match

T = TypeVar("T")
NAMES = count(1)
WAIT_S = 10.0
MARK = (
    b"\x88\xb5"  # an Ethernet type for experiments: frames of it tell that everything before them is through
)
SO_RCVBUFFORCE = 33
VXLAN, GENEVE = 100, 101  # ports of the tunnels that `with_tunnels` makes
TUNNEL_IP = "10.99.0.1"
LIBC = ctypes.CDLL(None, use_errno=True)


def run(*command: str, stdin: str | None = None) -> str:
    """A command's output. Raises RuntimeError with what it said."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}{done.stdout}")
    return done.stdout


def in_namespace(name: str, make: Callable[[], T]) -> T:
    """What `make` gives in a network namespace; this thread is then back in its own."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        assert LIBC.setns(there, 0x40000000) == 0, os.strerror(ctypes.get_errno())
        try:
            return make()
        finally:
            assert LIBC.setns(here, 0x40000000) == 0
    finally:
        os.close(here)
        os.close(there)


class Bridge:
    """`br-int` with ports 1..n. Frames sent into a port come out of others as its flows say."""

    def __init__(self, ports: int = 3) -> None:
        self.namespace = f"alcor-of{os.getpid()}-{next(NAMES)}"
        self.folder = Path(tempfile.mkdtemp(prefix="alcor-of"))
        self.socket = str(self.folder / "br-int.mgmt")
        self.sockets: dict[int, socket.socket] = {}
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._database = f"unix:{self.folder}/db.sock"
        run("ip", "netns", "add", self.namespace)
        try:
            run("ip", "-n", self.namespace, "link", "set", "lo", "up")
            self._start_database()
            self.start_switch()
            self._add_ports(range(1, ports + 1))
        except BaseException:
            self.stop()
            raise

    def _start_database(self) -> None:
        file = str(self.folder / "conf.db")
        run("ovsdb-tool", "create", file, "/usr/share/openvswitch/vswitch.ovsschema")
        remote = f"--remote=p{self._database}"
        self._start("ovsdb-server", file, remote, f"--unixctl={self.folder}/db.ctl")
        self._until((self.folder / "db.sock").exists)
        settings = ["other_config:n-handler-threads=1", "other_config:n-revalidator-threads=1"]
        settings.append("other_config:max-revalidator=100")  # ms until packets see new flows; 500 by default
        self.vsctl("--no-wait", "init", "--", "set", "Open_vSwitch", ".", *settings)

    def start_switch(self) -> None:
        """Starts ovs-vswitchd, and returns when it answers."""
        self._start("ovs-vswitchd", self._database, f"--unixctl={self.folder}/switch.ctl")
        protocols = "protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15"
        settings = ("datapath_type=netdev", "fail_mode=secure", protocols)
        self.vsctl("--may-exist", "add-br", "br-int", "--", "set", "bridge", "br-int", *settings)
        self._until(Path(self.socket).exists)

    def stop_switch(self) -> None:
        """Kills ovs-vswitchd: its flows are lost."""
        switch = self._daemons.pop()
        switch.kill()
        switch.wait(WAIT_S)
        Path(self.socket).unlink()

    def _start(self, *command: str) -> None:
        environment = {**os.environ, "OVS_RUNDIR": str(self.folder), "OVS_LOGDIR": str(self.folder)}
        inside = ("ip", "netns", "exec", self.namespace, *command, "-vconsole:off")
        self._daemons.append(subprocess.Popen(inside, env=environment))

    def _until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _add_ports(self, numbers: Iterable[int]) -> None:
        inside = ("ip", "netns", "exec", self.namespace)
        added = []
        for number in numbers:
            near, far = f"p{number}", f"v{number}"
            run("ip", "-n", self.namespace, "link", "add", near, "type", "veth", "peer", "name", far)
            for name in (near, far):
                run(*inside, "sysctl", "-qw", f"net.ipv6.conf.{name}.disable_ipv6=1")
                run("ip", "-n", self.namespace, "link", "set", name, "up")
            added += ["--", "add-port", "br-int", near]
            added += ["--", "set", "interface", near, f"ofport_request={number}"]
            self.sockets[number] = in_namespace(self.namespace, lambda far=far: _raw_socket(far))
        self.vsctl(*added[1:])

    def with_tunnels(self) -> socket.socket:
        """Adds flow-based tunnels; gives the far end of the network between hosts (neighbours .2 and .3 are known)."""
        run("ip", "-n", self.namespace, "link", "add", "under", "type", "veth", "peer", "name", "far")
        for name in ("under", "far"):
            run("ip", "-n", self.namespace, "link", "set", name, "up", "mtu", "1600")
        command = ["add-br", "br-phy", "--", "set", "bridge", "br-phy", "datapath_type=netdev"]
        command += ["--", "add-port", "br-phy", "under"]
        for name, port in (("vxlan", VXLAN), ("geneve", GENEVE)):
            options = ("options:key=flow", "options:remote_ip=flow", f"options:local_ip={TUNNEL_IP}")
            command += ["--", "add-port", "br-int", f"{name}0", "--", "set", "interface", f"{name}0"]
            command += [f"type={name}", f"ofport_request={port}", *options]
        self.vsctl(*command)
        run("ip", "-n", self.namespace, "addr", "add", f"{TUNNEL_IP}/16", "dev", "br-phy")
        run("ip", "-n", self.namespace, "link", "set", "br-phy", "up", "mtu", "1600")
        for last in (2, 3):
            self.appctl("tnl/neigh/set", "br-phy", f"10.99.0.{last}", f"02:00:00:00:99:0{last}")
        return in_namespace(self.namespace, lambda: _raw_socket("far"))

    def vsctl(self, *arguments: str) -> str:
        """ovs-vsctl, which waits until the switch has done it."""
        return run("ovs-vsctl", f"--db={self._database}", "--timeout=10", *arguments)

    def appctl(self, *arguments: str) -> str:
        """ovs-appctl on the switch."""
        return run("ovs-appctl", "-t", f"{self.folder}/switch.ctl", *arguments)

    def ofctl(self, command: str, *arguments: str, version: str = "OpenFlow15") -> str:
        """ovs-ofctl, the independent judge."""
        return run("ovs-ofctl", "-O", version, command, f"unix:{self.socket}", *arguments)

    def dumped(self) -> list[str]:
        """Flows as ovs-ofctl reads them by OpenFlow 1.5, without counters; the mark's flow left out."""
        lines = self.ofctl("dump-flows", "--no-stats").splitlines()[1:]
        return sorted(line.strip() for line in lines if line.strip() and "0x88b5" not in line)

    def program(self, *flows: Flow) -> list[Failure]:
        """Makes these the only flows, through the agent's own connection, and waits until packets see them."""
        mark = Flow(0, 65535, match(eth_type=0x88B5), tuple(Output(port) for port in self.sockets))
        wanted = [*flows, mark]

        async def change() -> list[Failure]:
            switch = await Switch.connect(self.socket)
            try:
                identities = {flow.identity for flow in wanted}
                old = [flow for flow in await switch.dump() if flow.identity not in identities]
                return await switch.apply(wanted, old)
            finally:
                await switch.close()

        failures = asyncio.run(change())
        self.appctl("revalidator/wait")
        return failures

    def read(self) -> list[Flow]:
        """All flows but the mark's, through the agent's own connection, in order of identity."""

        async def dump() -> list[Flow]:
            switch = await Switch.connect(self.socket)
            try:
                return await switch.dump()
            finally:
                await switch.close()

        mark = match(eth_type=0x88B5)
        return sorted(
            (flow for flow in asyncio.run(dump()) if flow.match != mark), key=lambda f: repr(f.identity)
        )

    def send(self, port: int, *frames: bytes) -> dict[int, list[bytes]]:
        """What comes out of which port when the frames go into `port`, one after another."""
        for far in self.sockets.values():
            drain(far)
        for frame in frames:
            self.sockets[port].send(frame)
        self.sockets[port].send(b"\xff" * 6 + b"\x02\0\0\0\0\x01" + MARK + os.urandom(50))
        came: dict[int, list[bytes]] = {number: [] for number in self.sockets}
        marked = {port}  # OVS sends nothing back to the port that it came by
        deadline = time.monotonic() + WAIT_S
        while len(marked) < len(self.sockets):
            assert time.monotonic() < deadline, "the mark did not come through"
            readable, _, _ = select.select(list(self.sockets.values()), [], [], 0.1)
            for number, far in self.sockets.items():
                if far in readable and (frame := received(far)):
                    marked |= {number} if frame[12:14] == MARK else set()
                    came[number] += [] if frame[12:14] == MARK else [frame]
        came[port] += drain(self.sockets[port])
        return {number: frames for number, frames in came.items() if frames}

    def stop(self) -> None:
        """Ends what was started, and leaves nothing behind."""
        for far in self.sockets.values():
            far.close()
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            daemon.wait(WAIT_S)
        run("ip", "netns", "del", self.namespace)
        shutil.rmtree(self.folder)


def _raw_socket(interface: str) -> socket.socket:
    far = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    far.bind((interface, 0))
    far.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    far.setblocking(False)
    return far


def received(far: socket.socket) -> bytes:
    """A frame that the switch sent out, or b"" where it is our own or none waits."""
    try:
        frame, address = far.recvfrom(65535)
    except BlockingIOError:
        return b""
    return b"" if address[2] == socket.PACKET_OUTGOING else frame


def drain(far: socket.socket) -> list[bytes]:
    """All frames that wait, but for marks and our own."""
    frames = []
    while select.select([far], [], [], 0)[0]:
        frame = received(far)
        if frame and frame[12:14] != MARK:
            frames.append(frame)
    return frames
