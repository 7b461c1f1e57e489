# SPDX-License-Identifier: Apache-2.0
"""Which virtual machines are plugged into the bridge, as OVSDB says; and that bridge and tunnel port are there.

An interface belongs to the port named in its `external_ids:iface-id`. Says what is plugged, and knows no ports.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from ovsdbapp.backend.ovs_idl import connection, idlutils
from ovsdbapp.exceptions import OvsdbAppException
from ovsdbapp.schema.open_vswitch import impl_idl

from alcor.base.telemetry import log, log_warning
from alcor.dataplane.rows import Interface

TUNNEL_PORT = "alcor-vxlan"  # made where the bridge has no VXLAN port of the right kind
TRANSACTION_S_MAX = 10
KERNEL_MODULE = Path("/sys/module/openvswitch")  # what OVSDB lists as datapath types is there without it, too
RETRY_S = 1.0  # between attempts to reach an ovsdb-server that is not there

_COLUMNS = {
    "Open_vSwitch": ["bridges", "next_cfg", "cur_cfg"],
    "Bridge": ["name", "ports", "fail_mode", "protocols", "datapath_type"],
    "Port": ["name", "interfaces"],
    "Interface": ["name", "type", "ofport", "external_ids", "options", "other_config"],
}
_TUNNEL_OPTIONS = {"key": "flow", "remote_ip": "flow"}
_UNREACHABLE = (OvsdbAppException, OSError)
_VANISHED = (AttributeError, LookupError, RuntimeError)  # by reading rows that somebody deletes meanwhile
_PROTOCOLS = ["OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"]


@dataclass(frozen=True)
class Plugged:
    """What changed on the bridge: interfaces as they are, iface-ids of those gone, the tunnel port's number."""

    interfaces: tuple[Interface, ...]
    gone: tuple[str, ...]
    tunnel_ofport: int  # 0: the tunnel port is not there (yet, or any more)
    uplinks: tuple[tuple[str, int], ...] = ()  # as `HostFacts.uplinks`


@dataclass(frozen=True)
class Bridges:
    """The integration bridge, and the operator's bridge to each physical network, which patch ports join to it."""

    integration: str
    mappings: tuple[tuple[str, str], ...] = ()  # (physical network, bridge)


class Plug:
    """Follows one bridge. `on_change` is called in the event loop, the first time with all that is there."""

    def __init__(
        self, remote: str, bridges: Bridges, tunnel_ip: str, on_change: Callable[[Plugged], None]
    ) -> None:
        self._remote = remote
        self._bridges = bridges
        self._bridge = bridges.integration
        self._tunnel_ip = tunnel_ip
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._connection: Any = None
        self._ovsdb: Any = None
        self._mending: asyncio.Task[None] | None = None
        self._setting: set[asyncio.Task[None]] = set()
        self._is_whole = False  # tunnel port and uplinks are there
        self._told = ""  # why a port could not be made, the last time
        self._missing: set[str] = set()  # bridges to physical networks that were last seen to be missing

    async def start(self) -> None:
        """Connects, makes what is missing, and reports what is plugged; waits for as long as OVSDB is not there."""
        is_told = False
        while True:
            try:
                await asyncio.to_thread(self._connect)
                return
            except _UNREACHABLE as error:
                if not is_told:
                    to_do = "start Open vSwitch, or set ovsdb (--ovsdb) to where its ovsdb-server listens"
                    log_warning("ovsdb out of reach", remote=self._remote, reason=str(error), to_do=to_do)
                    logging.getLogger(idlutils.__name__).setLevel(logging.CRITICAL)  # it, too, has said why
                is_told = True
                await asyncio.sleep(RETRY_S)

    async def stop(self) -> None:
        """Ends the connection; what is plugged stays plugged."""
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.gather(self._mending, return_exceptions=True)
        await asyncio.gather(*self._setting)
        if self._connection is not None:
            await asyncio.to_thread(self._connection.stop, TRANSACTION_S_MAX)

    def set_up(self, interface: str, values: Mapping[str, str]) -> None:
        """Begins to change the `other_config` of an interface; "" takes a key away. What fails is told, and no more."""
        task = asyncio.create_task(asyncio.to_thread(self._set_up, interface, values))
        self._setting.add(task)
        task.add_done_callback(self._setting.discard)

    def _set_up(self, interface: str, values: Mapping[str, str]) -> None:
        ovsdb = self._ovsdb
        given = {key: value for key, value in values.items() if value}
        where = "Interface", interface
        try:
            with ovsdb.transaction(check_error=True) as transaction:
                if given:
                    transaction.add(ovsdb.db_set(*where, ("other_config", given)))
                for key in values.keys() - given.keys():
                    transaction.add(ovsdb.db_remove(*where, "other_config", key))
        except (*_UNREACHABLE, *_VANISHED) as error:
            log_warning("interface cannot be set up", interface=interface, reason=str(error))

    def _connect(self) -> None:
        try:
            schema = idlutils.get_schema_helper(self._remote, "Open_vSwitch")
        except Exception as error:  # it raises no narrower class when nobody answers
            raise OSError(str(error)) from error
        for table, columns in _COLUMNS.items():
            schema.register_columns(table, columns)
        idl = _FollowingIdl(self._remote, schema)
        self._connection = connection.Connection(idl, timeout=TRANSACTION_S_MAX)
        self._ovsdb = _Ovsdb(self._connection)
        self._ensure_all()
        follower = _BridgeFollower(idl, self._bridges, self._publish)
        with self._connection.lock:
            idl.on_run = follower.look
            follower.look({})

    def _publish(self, plugged: Plugged) -> None:
        """From the IDL's thread to the event loop."""
        self._loop.call_soon_threadsafe(self._tell, plugged)

    def _tell(self, plugged: Plugged) -> None:
        self._on_change(plugged)
        self._is_whole = bool(plugged.tunnel_ofport) and all(ofport for _, ofport in plugged.uplinks)
        if not self._is_whole and self._mending is None:
            self._mending = asyncio.create_task(self._mend())

    async def _mend(self) -> None:
        """Somebody took the bridge, the tunnel port or a patch port away, or a bridge to a physical network came.

        Until all is there: what was just made may be taken away before anybody has seen it, which is no news.
        """
        is_told = False
        while True:
            await asyncio.to_thread(self._ensure_all)
            await asyncio.sleep(RETRY_S)
            if self._is_whole:
                break
            if not is_told and not self._missing:
                to_do = f"start ovs-vswitchd, or see why: ovs-vsctl --columns=name,error list Interface {TUNNEL_PORT}"
                log_warning("no tunnel port yet", bridge=self._bridge, to_do=to_do)
                is_told = True
        self._mending = None

    def _ensure_all(self) -> None:
        try:
            self._ensure(self._ovsdb)
        except (*_UNREACHABLE, *_VANISHED) as error:
            if str(error) != self._told:
                log_warning("port cannot be made", bridge=self._bridge, reason=str(error))
            self._told = str(error)

    def _ensure(self, ovsdb: Any) -> None:
        self._ensure_bridge(ovsdb)
        self._ensure_tunnel(ovsdb)
        for name, bridge in self._bridges.mappings:
            if _row_named(ovsdb, "Bridge", bridge) is None:
                if bridge not in self._missing:
                    log_warning("no bridge to the physical network", physical_network=name, bridge=bridge)
                self._missing.add(bridge)
                continue
            self._missing.discard(bridge)
            here, there = patch_ports(bridge)
            _ensure_patch(ovsdb, self._bridge, here, there)
            _ensure_patch(ovsdb, bridge, there, here)

    def _ensure_bridge(self, ovsdb: Any) -> None:
        bridge = _row_named(ovsdb, "Bridge", self._bridge)
        if bridge is None:
            others = ovsdb.tables["Bridge"].rows.values()
            has_kernel = KERNEL_MODULE.exists() and not any(
                other.datapath_type == "netdev" for other in others
            )
            kind = "system" if has_kernel else "netdev"
            ovsdb.add_br(self._bridge, datapath_type=kind).execute(check_error=True)
            log("bridge made", bridge=self._bridge, datapath=kind)
            bridge = _row_named(ovsdb, "Bridge", self._bridge)
        settings: list[tuple[str, Any]] = []
        if bridge.fail_mode != ["secure"]:
            settings.append(("fail_mode", "secure"))  # else a bridge without flows is a learning switch
        if bridge.protocols and "OpenFlow14" not in bridge.protocols:
            settings.append(("protocols", _PROTOCOLS))
        if settings:
            ovsdb.db_set("Bridge", self._bridge, *settings).execute(check_error=True)

    def _ensure_tunnel(self, ovsdb: Any) -> None:
        wanted = {**_TUNNEL_OPTIONS, "local_ip": self._tunnel_ip}
        interface = _tunnel_interface(_row_named(ovsdb, "Bridge", self._bridge))
        if interface is not None:
            if dict(interface.options) != wanted:
                ovsdb.db_set("Interface", interface.name, ("options", wanted)).execute(check_error=True)
            return
        if _row_named(ovsdb, "Port", TUNNEL_PORT) is not None:
            raise OSError(
                f"another bridge has {TUNNEL_PORT}: delete it there, or set bridge (--bridge) to that one"
            )
        with ovsdb.transaction(check_error=True) as transaction:
            transaction.add(ovsdb.add_port(self._bridge, TUNNEL_PORT))
            transaction.add(ovsdb.db_set("Interface", TUNNEL_PORT, ("type", "vxlan"), ("options", wanted)))
        log("tunnel port made", bridge=self._bridge, port=TUNNEL_PORT, local_ip=self._tunnel_ip)


class _BridgeFollower:
    """Compares the bridge with what was last reported. Lives in the IDL's thread."""

    def __init__(self, idl: _FollowingIdl, bridges: Bridges, publish: Callable[[Plugged], None]) -> None:
        self._idl = idl
        self._bridges = bridges
        self._publish = publish
        self._reported: dict[str, Interface] = {}
        self._ports: tuple[object, ...] = ()  # what was reported of tunnel port and uplinks
        self._patches = {patch_ports(bridge)[0]: name for name, bridge in bridges.mappings}
        self._uplinks: dict[UUID, tuple[str, int]] = {}
        self._interfaces_of: dict[UUID, list[UUID]] = {}  # of a port
        self._interfaces: dict[UUID, Interface | None] = {}  # None: not a virtual machine's, or not ready
        self._tunnels: dict[UUID, int] = {}

    def look(self, noticed: dict[UUID, None]) -> None:
        """Reports the difference since the last look; rows of `noticed` are read again."""
        for uuid in noticed:
            self._interfaces_of.pop(uuid, None)
            self._interfaces.pop(uuid, None)
            self._tunnels.pop(uuid, None)
            self._uplinks.pop(uuid, None)
        bridges = {row.name: row for row in self._idl.tables["Bridge"].rows.values()}
        bridge = bridges.get(self._bridges.integration)
        current: dict[str, Interface] = {}
        tunnel_ofport = 0
        ofports = dict.fromkeys((name for name, _ in self._bridges.mappings), 0)
        for port in bridge.ports if bridge else ():
            for uuid in self._of_port(port):
                interface = self._read(uuid)
                if interface:
                    current[interface.iface_id] = interface
                tunnel_ofport = tunnel_ofport or self._tunnels.get(uuid, 0)
                ofports.update((self._uplinks[uuid],) if uuid in self._uplinks else ())

        changed = tuple(
            interface for key, interface in current.items() if self._reported.get(key) != interface
        )
        gone = tuple(self._reported.keys() - current.keys())
        uplinks = tuple(ofports.items())
        # A bridge that has come is news, too: its patch ports are to be made.
        ports = (tunnel_ofport, uplinks, [bridge in bridges for _, bridge in self._bridges.mappings])
        if changed or gone or ports != self._ports:
            self._reported, self._ports = current, ports
            self._publish(Plugged(changed, gone, tunnel_ofport, uplinks))

    def _of_port(self, port: Any) -> list[UUID]:
        if port.uuid not in self._interfaces_of:
            self._interfaces_of[port.uuid] = [interface.uuid for interface in port.interfaces]
        return self._interfaces_of[port.uuid]

    def _read(self, uuid: UUID) -> Interface | None:
        if uuid not in self._interfaces:
            row = self._idl.tables["Interface"].rows[uuid]
            iface_id = row.external_ids.get("iface-id", "")
            ofport = _ofport(row)
            other = tuple(sorted(row.other_config.items()))
            is_plugged = iface_id and ofport
            self._interfaces[uuid] = (
                Interface(iface_id, row.name, ofport, other_config=other) if is_plugged else None
            )
            if _is_tunnel(row):
                self._tunnels[uuid] = ofport
            if row.name in self._patches:
                self._uplinks[uuid] = self._patches[row.name], ofport
        return self._interfaces[uuid]


class _FollowingIdl(connection.OvsdbIdl):  # type: ignore[misc]  # ovsdbapp ships no types
    """Calls `on_run` in its thread after each update, with the rows that the update touched."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_run: Callable[[dict[UUID, None]], None] | None = None
        self._noticed: dict[UUID, None] = {}

    def notify(self, event: str, row: Any, updates: Any = None) -> None:
        self._noticed[row.uuid] = None

    def run(self) -> bool:
        changed: bool = super().run()
        if self._noticed and self.on_run:
            noticed, self._noticed = self._noticed, {}
            self.on_run(noticed)
        return changed


class _Ovsdb(impl_idl.OvsdbIdl):  # type: ignore[misc]  # ovsdbapp ships no types
    """ovsdbapp's commands on a connection of our own; theirs is one for all of the process."""

    def __init__(self, mine: Any) -> None:
        self._mine = mine
        super().__init__(mine)

    @property
    def ovsdb_connection(self) -> Any:
        return self._mine

    @ovsdb_connection.setter
    def ovsdb_connection(self, _given: Any) -> None:
        assert _given is self._mine, "one connection for one object"


def _row_named(ovsdb: Any, table: str, name: str) -> Any:
    return idlutils.row_by_value(ovsdb.idl, table, "name", name, None)


def patch_ports(bridge: str) -> tuple[str, str]:
    """The ports that join the integration bridge and another: the one there, and its peer. Named as Neutron does."""
    return f"int-{bridge}", f"phy-{bridge}"


def _ensure_patch(ovsdb: Any, bridge: str, port: str, peer: str) -> None:
    wanted = {"peer": peer}
    interface = _row_named(ovsdb, "Interface", port)
    if interface is not None and (interface.type, dict(interface.options)) == ("patch", wanted):
        return
    with ovsdb.transaction(check_error=True) as transaction:
        transaction.add(ovsdb.add_port(bridge, port, may_exist=True))
        transaction.add(ovsdb.db_set("Interface", port, ("type", "patch"), ("options", wanted)))
    log("patch port made", bridge=bridge, port=port, peer=peer)


def _tunnel_interface(bridge: Any) -> Any:
    interfaces = (interface for port in bridge.ports for interface in port.interfaces)
    return next(filter(_is_tunnel, interfaces), None)


def _is_tunnel(interface: Any) -> bool:
    return interface.type == "vxlan" and _TUNNEL_OPTIONS.items() <= dict(interface.options).items()


def _ofport(interface: Any) -> int:
    numbers = interface.ofport
    return numbers[0] if numbers and numbers[0] > 0 else 0
