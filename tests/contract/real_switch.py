# SPDX-License-Identifier: Apache-2.0
"""A real ovs-vswitchd whose ports are sockets of the test: its userspace datapath, with no interface of the machine.

Frames go in and come out over OVS's dummy devices. After each packet a marker frame follows the same way out of every
port, so what has not come before it never will. The switch's clock stands still unless the test moves it.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from alcor.dataplane.openflow import messages, replies
from alcor.dataplane.openflow.messages import Bundle, Command, Kind, MeterCommand
from alcor.dataplane.values import Controller, Ct, Flow, InPort, Meter, Output, SetField, match
from alcor.testing.fake_switch import Emission, Tunnel
from alcor.testing.ovs.state import Pattern, pattern_of
from alcor.testing.packet import Ipv4, Ipv6, Packet, Udp

PORTS = (1, 2, 3, 4)
TUNNEL_PORT = 9
LOCAL_IP = 0x0A630001  # 10.99.0.1, where tunnels to this switch end
_OPTION = bytes.fromhex("ffff0001")  # class ffff, type 0, one word
_MARKER_TYPE, _MARKER_PRIORITY = 0x88B5, 0xFFFF
_MARKER = bytes(12) + _MARKER_TYPE.to_bytes(2, "big") + b"marker".ljust(46, b"\0")
_MARKER_DST = 0x0A63FFFF
_VTEP, _GATEWAY = "aa:55:aa:55:00:01", "aa:55:aa:55:00:02"
_GATEWAY_IP = "10.99.255.255"
_GENEVE = 6081
_WAIT_S = 10.0


FlowKey = tuple[int, int, Pattern]  # table, priority, match as OVS keeps it


class RealSwitch:
    """One bridge with four ports and a Geneve port, and what a test does to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.packet_ins: list[replies.PacketIn] = []
        self._xid = 1
        self._children: list[subprocess.Popen[bytes]] = []
        self._frames: dict[int, _Stream] = {}
        self._sockets: list[socket.socket | _Control] = []

    def start(self) -> None:
        """Start the daemons and make the bridge."""
        database = self.folder / "conf.db"
        schema = "/usr/share/openvswitch/vswitch.ovsschema"
        subprocess.run(["ovsdb-tool", "create", database, schema], check=True, timeout=_WAIT_S)
        self._spawn("ovsdb-server", str(database), f"--remote=punix:{self._at('db.sock')}")
        _until_exists(self._at("db.sock"))
        self._vsctl("--no-wait", "init")
        self._spawn(
            "ovs-vswitchd",
            f"unix:{self._at('db.sock')}",
            "--enable-dummy",
            "--disable-system",
            "--disable-system-route",
        )
        _until_exists(self._at("ovs-vswitchd.ctl"))
        self._control = _Control(self._at("ovs-vswitchd.ctl"))
        self._sockets.append(self._control)
        self._make_bridges()
        self._talk_openflow()
        self._greet_gateway()

    def stop(self) -> None:
        """End the daemons."""
        for stream in self._frames.values():
            stream.close()
        for each in self._sockets:
            each.close()
        for child in reversed(self._children):
            child.terminate()
        for child in self._children:
            child.wait(_WAIT_S)

    def make_meters(self, *meters: Meter) -> str:
        """Let the bridge have these meters, new and full; the switch's error, or an empty text."""
        commands = [(MeterCommand.DELETE, meter) for meter in meters]
        commands += [(MeterCommand.ADD, meter) for meter in meters]
        return self._say(b"".join(messages.meter_mod(self._xid, *command) for command in commands))

    def install(self, flows: Iterable[Flow]) -> str:
        """Let the bridge have exactly these flows, in one bundle; the switch's error, or an empty text."""
        self.appctl("revalidator/purge")
        self.appctl("dpctl/flush-conntrack")
        everything = Flow(messages.ALL_TABLES, 0, (), ())
        mods = [(Command.DELETE, everything), (Command.ADD, _marker_flow())]
        mods += [(Command.ADD, flow) for flow in flows]
        self._xid += 1
        said = messages.bundle(self._xid, Bundle.OPEN, self._xid)
        for command, flow in mods:
            inner = messages.flow_mod(self._xid, command, flow)
            said += messages.bundle_add(self._xid, self._xid, inner)
        said += messages.bundle(self._xid, Bundle.COMMIT, self._xid)
        error = self._say(said)
        self.packet_ins.clear()
        return error

    def send(self, port: int, frame: bytes, tunnel: Tunnel) -> list[Emission]:
        """What leaves the bridge for a frame that comes in, port by port."""
        for each in (frame, _MARKER):
            self._inject(port, each, tunnel)
        emissions = []
        for number, stream in self._frames.items():
            unwrap = _unwrapped if number == TUNNEL_PORT else partial(Emission, number)
            emissions += [unwrap(raw) for raw in stream.until_marker()]
        self._until_marked()
        return emissions

    def counts(self) -> dict[FlowKey, int]:
        """Packets that each flow has seen; purges what the datapath has cached."""
        self.appctl("revalidator/purge")
        self._xid += 1
        self._socket.sendall(messages.flow_stats_request(self._xid))
        counted: list[replies.Counted] = []
        more = True
        while more:
            kind, body = self._hear()
            if kind == Kind.MULTIPART_REPLY:
                counted += replies.flow_stats(body)
                more = replies.has_more(body)
        return {key_of(each.flow): each.packets for each in counted if each.flow.priority != _MARKER_PRIORITY}

    def warp(self, seconds: float) -> None:
        """Let time pass in the switch."""
        self.appctl("time/warp", str(int(seconds * 1000)))
        self._greet_gateway()

    def forget_fragments(self, count: int) -> None:
        """Let the switch get rid of `count` datagrams that were never whole: one with each packet that it tracks."""
        self.install([Flow(0, 1, match(eth_type=kind), (Ct(1),)) for kind in (0x0800, 0x86DD)])
        self.warp(20)
        payload = Udp(1, 2)
        addresses: tuple[Ipv4 | Ipv6, ...] = (
            Ipv4("10.0.0.1", "10.0.0.2", payload),
            Ipv6("fd00::1", "fd00::2", payload),
        )
        for _ in range(count):
            for ip in addresses:
                self.send(1, Packet(_GATEWAY, _VTEP, ip).build(), Tunnel())

    def appctl(self, command: str, *arguments: str) -> str:
        """One command to ovs-vswitchd, as ovs-appctl would say it."""
        return self._control.say(command, *arguments)

    def _at(self, name: str) -> str:
        return str(self.folder / name)

    def _spawn(self, program: str, *arguments: str) -> None:
        files = (f"--unixctl={self._at(program + '.ctl')}", f"--log-file={self._at(program + '.log')}")
        environment = os.environ | {"OVS_RUNDIR": str(self.folder), "OVS_DBDIR": str(self.folder)}
        command = [program, *arguments, *files, "-vconsole:off"]
        self._children.append(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL))

    def _vsctl(self, *arguments: str) -> None:
        command = ["ovs-vsctl", "--timeout=10", f"--db=unix:{self._at('db.sock')}", *arguments]
        subprocess.run(command, check=True, timeout=_WAIT_S * 2)

    def _make_bridges(self) -> None:
        self._vsctl(
            "add-br", "under", "--", "set", "bridge", "under", "datapath_type=dummy", "fail_mode=standalone"
        )
        self._vsctl("set", "bridge", "under", f'other-config:hwaddr="{_VTEP}"')
        self._vsctl(
            *("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy", "fail_mode=secure"),
            "protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15",
        )
        for number, bridge in [(number, "br0") for number in PORTS] + [(TUNNEL_PORT, "under")]:
            path, name = self._at(f"p{number}.sock"), f"p{number}"
            self._vsctl(
                *("add-port", bridge, name, "--", "set", "interface", name, "type=dummy"),
                *(f"ofport_request={number}", f"options:pstream=punix:{path}"),
            )
            self._frames[number] = _Stream(path)
        self._vsctl(
            *("add-port", "br0", "tunnel", "--", "set", "interface", "tunnel", "type=geneve"),
            *(f"ofport_request={TUNNEL_PORT}", "options:remote_ip=flow", "options:key=flow"),
        )
        self.appctl("netdev-dummy/ip4addr", "under", "10.99.0.1/16")
        self.appctl("ovs/route/add", "0.0.0.0/0", "under", _GATEWAY_IP)
        self.appctl("tnl/neigh/aging", "3600")
        self.appctl("time/stop")
        # Flows that go round in circles by way of ct make OVS trace for ever, for the sake of this log line.
        self.appctl("vlog/set", "ofproto_dpif_upcall:off")
        # A cached flow would give a tunnel option that is first looked at after ct the value of an earlier packet.
        self.appctl("upcall/disable-megaflows")

    def _greet_gateway(self) -> None:
        """Let the switch know where tunnels go, so that no packet waits for ARP; it forgets with time."""
        self.appctl("tnl/neigh/set", "under", _GATEWAY_IP, _GATEWAY)

    def _talk_openflow(self) -> None:
        self._socket = _connected(self._at("br0.mgmt"))
        self._sockets.append(self._socket)
        self._socket.sendall(
            messages.hello(1)
            + messages.set_config(2)
            + messages.set_packet_in_format(3)
            + messages.map_tunnel_option(4, 0xFFFF, 0)
        )
        error = self._say(b"")
        assert not error, error

    def _say(self, said: bytes) -> str:
        """Send messages and a barrier; the first error that comes before its answer."""
        self._xid += 1
        self._socket.sendall(said + messages.barrier(self._xid))
        error = ""
        while True:
            kind, body = self._hear()
            if kind == Kind.ERROR:
                error = error or replies.refused(0, body).reason
            elif kind == Kind.BARRIER_REPLY:
                return error

    def _hear(self) -> tuple[int, bytes]:
        kind, length, xid = replies.header(_exactly(self._socket, messages.HEADER_BYTES))
        body = _exactly(self._socket, length - messages.HEADER_BYTES)
        if kind == Kind.ECHO_REQUEST:
            self._socket.sendall(messages.echo_reply(xid, body))
        elif kind == Kind.EXPERIMENTER:
            packet_in = replies.packet_in(body)
            if packet_in is not None:
                self.packet_ins.append(packet_in)
        return kind, body

    def _inject(self, port: int, frame: bytes, tunnel: Tunnel) -> None:
        if port == TUNNEL_PORT:
            frame = _wrapped(frame, tunnel)
        self._frames[port].send(frame)

    def _until_marked(self) -> None:
        while not self.packet_ins or self.packet_ins[-1].userdata != b"marker":
            self._hear()
        self.packet_ins.pop()


class _Stream:
    """A dummy device's socket: frames, each after its length in two bytes."""

    def __init__(self, path: str) -> None:
        _until_exists(path)
        self._socket = _connected(path)

    def close(self) -> None:
        self._socket.close()

    def send(self, frame: bytes) -> None:
        self._socket.sendall(len(frame).to_bytes(2, "big") + frame)

    def until_marker(self) -> list[bytes]:
        frames = []
        while True:
            frame = _exactly(self._socket, int.from_bytes(_exactly(self._socket, 2), "big"))
            if b"marker" in frame:
                return frames
            frames.append(frame)


class _Control:
    """ovs-vswitchd's control socket, kept open."""

    def __init__(self, path: str) -> None:
        self._socket = _connected(path)

    def close(self) -> None:
        self._socket.close()

    def say(self, command: str, *arguments: str) -> str:
        request = {"id": 0, "method": command, "params": list(arguments)}
        self._socket.sendall(json.dumps(request).encode())
        raw = ""
        while True:
            raw += self._socket.recv(1 << 16).decode()
            try:
                answer = json.loads(raw)
            except json.JSONDecodeError:
                continue
            assert answer["error"] is None, answer
            return str(answer["result"])


def _connected(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(_WAIT_S)
    made.connect(path)
    return made


def key_of(flow: Flow) -> FlowKey:
    """The flow's identity in the form in which the switch gives it back."""
    return flow.table, flow.priority, pattern_of(flow.match)


def _marker_flow() -> Flow:
    others = tuple(Output(port) for port in (*PORTS, TUNNEL_PORT))
    actions = (SetField("tun_dst", _MARKER_DST), *others, InPort(), Controller(b"marker"))
    return Flow(0, _MARKER_PRIORITY, match(eth_type=_MARKER_TYPE), actions)


def _wrapped(frame: bytes, tunnel: Tunnel) -> bytes:
    option = b"" if tunnel.option is None else _OPTION + struct.pack(">I", tunnel.option)
    header = struct.pack(">BBHI", len(option) // 4, 0, 0x6558, tunnel.id << 8)
    outer = Ipv4(
        _dotted(tunnel.src),
        _dotted(tunnel.dst),
        Udp(5000, _GENEVE, header + option + frame, is_unsummed=True),
    )
    return Packet(_GATEWAY, _VTEP, outer).build()


def _unwrapped(raw: bytes) -> Emission:
    outer = Packet.parse(raw).payload
    assert isinstance(outer, Ipv4), raw.hex()
    assert isinstance(outer.payload, Udp), raw.hex()
    geneve = outer.payload.payload
    length = (geneve[0] & 0x3F) * 4
    options = geneve[8 : 8 + length]
    option = int.from_bytes(options[4:8], "big") if options else None
    key = int.from_bytes(geneve[4:7], "big")
    return Emission(
        TUNNEL_PORT, geneve[8 + length :], Tunnel(key, _number(outer.src), _number(outer.dst), option)
    )


def _dotted(number: int) -> str:
    return socket.inet_ntoa(number.to_bytes(4, "big"))


def _number(address: str) -> int:
    return int.from_bytes(socket.inet_aton(address), "big")


def _exactly(source: socket.socket, size: int) -> bytes:
    chunk = b""
    while len(chunk) < size:
        more = source.recv(size - len(chunk))
        assert more, "the switch has closed the connection"
        chunk += more
    return chunk


def _until_exists(path: str) -> None:
    for _ in range(500):
        if Path(path).exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{path} did not appear")
