# SPDX-License-Identifier: Apache-2.0
"""The agent of one host: rows from push, interfaces from OVSDB, flows into the switch, and reports back.

`HostAgent` is the loop, fed by events, and knows neither gRPC nor sockets; `run` gives it the real world.
"""

from __future__ import annotations

import asyncio
import gc
import random
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version

from alcor.agent.announce import Announcements
from alcor.agent.claims import WINDOW_S, Claims, Window
from alcor.agent.derive import Change, Deriver, Place
from alcor.agent.dial import dialler
from alcor.agent.inspect import Inspector, Survey
from alcor.agent.neighbours import TunnelNeighbours
from alcor.agent.plug import Bridges, Plug, Plugged
from alcor.agent.realised import Realised
from alcor.agent.reconcile import FlowSwitch, Reconciler
from alcor.agent.rows import Changed, HostRows, Position
from alcor.agent.session import Backoff, Failure, HostIdentity, Session
from alcor.agent.session import run as run_session
from alcor.agent.settings import Settings as InterfaceSettings
from alcor.agent.sole import only_agent
from alcor.agent.switch import Bounds, Switch, SwitchGone, SwitchRefused
from alcor.base.config import Settings
from alcor.base.metrics import FLOODS_CUT, FLOWS_DERIVED, SWITCH_CONNECTS
from alcor.base.net import Cidr, is_loopback
from alcor.base.telemetry import Meters, log, log_warning
from alcor.dataplane.openflow.replies import PacketIn
from alcor.dataplane.pipeline import flooded_further, tunnel_peers
from alcor.dataplane.rows import HostFacts, HostFeature, Interface
from alcor.dataplane.values import Flow

PLACES_PER_SLICE = 100  # rows derived before others in the loop get their turn
FLOODED_MAX = 100  # parts of large networks to which packets are flooded in one WINDOW_S
SWITCH_RETRY_S = 0.1  # between attempts to reach a switch that is not there
ENTER_WAIT_S = 0.005  # for the rest of a turn that brings scopes
# Flows are many small values that live long and make no cycles: the usual thresholds double the time to derive them.
GC_THRESHOLDS = (20_000, 10, 50)


@dataclass
class _Inbox:
    """What happened since the last step."""

    places: set[Place] = field(default_factory=set)
    interfaces: dict[str, Interface | None] = field(default_factory=dict)  # None: gone
    switch: FlowSwitch | None = None  # newly connected
    is_audit_due: bool = False


class HostAgent:
    """Brings the switch to what the rows say, step by step; what happens during a step is taken up by the next.

    A step may be ended by `SwitchGone`: the switch keeps what it has, and the next one that is connected is compared.
    """

    def __init__(
        self, features: Sequence[HostFeature], session: Session, facts: HostFacts, meters: Meters
    ) -> None:
        self.session = session
        self.rows = session.rows
        self.deriver = Deriver(features, self.rows.scopes, facts)
        self.reconciler = Reconciler(self.deriver.wanted, meters)
        self.on_peers: Callable[[Iterable[int]], None] = lambda peers: None  # tunnels lead to these
        self.on_attached: Callable[[], None] = lambda: None  # the switch may have restarted
        self.on_setting: Callable[[str, Mapping[str, str]], None] = lambda name, values: None
        self.disturbed = asyncio.Event()  # others changed flows
        self._facts = facts
        self._scope = f"host:{facts.host}"
        self._realised = Realised(features, self.rows.scopes, self.deriver.interface)
        self._settings = InterfaceSettings(features)
        self.meters = meters
        self._inbox = _Inbox()
        self._wake = asyncio.Event()
        self._quiet = asyncio.Event()
        self._entered = asyncio.Event()  # no scope has come whose turn is not complete yet
        self._entered.set()
        self._touched: set[str] = (
            set()
        )  # keys of own rows, and iface-ids, of which nothing was reported since
        self.survey = Survey(
            session, self.deriver, self.reconciler, self._realised, self.idle, self.reconciler.look
        )
        self.inspector = Inspector(session, self.survey.held)
        self._claims = Claims(session.claim, self._mute)
        self._announcements = Announcements(self.deriver.wanted)
        self._floods = Window(FLOODED_MAX)

    def rows_changed(self, changed: Changed) -> None:
        """The session has received something."""
        if changed.entered:
            self._entered.clear()
        else:
            self._entered.set()
        self._inbox.places.update((scope, key) for scope, _, key in changed.rows)
        self._ring()

    def plugged(self, plugged: Plugged) -> None:
        """Interfaces came, changed or went, or the tunnel port did."""
        self._inbox.interfaces.update({interface.iface_id: interface for interface in plugged.interfaces})
        self._inbox.interfaces.update(dict.fromkeys(plugged.gone))
        tunnel_ofport = plugged.tunnel_ofport or self._facts.tunnel_ofport
        self._facts = replace(self._facts, tunnel_ofport=tunnel_ofport, uplinks=plugged.uplinks)
        self._ring()

    async def packet_told(self, told: bytes, packet: bytes) -> None:
        """The switch tells of a packet what its flow says of it."""
        now_s = asyncio.get_running_loop().time()
        self._claims.heard(told, now_s)
        for actions in flooded_further(told):
            if self._floods.take(now_s):
                await self.reconciler.put_out(packet, actions)
            else:
                self.meters.counter(FLOODS_CUT).inc()

    def switch_connected(self, switch: FlowSwitch) -> None:
        """There is a connection to the switch, the first or another one."""
        self._inbox.switch = switch
        self._ring()

    def switch_gone(self) -> None:
        """The connection is no more."""
        self._inbox.switch = None
        self.reconciler.detach()

    def audit(self) -> None:
        """The switch is to be compared with what is wanted."""
        self._inbox.is_audit_due = True
        self._ring()

    async def run(self) -> None:
        """Steps whenever something happened, until cancelled."""
        while True:
            await self._wake.wait()
            await self._turn_complete()
            await self.step()
            if not self._wake.is_set():
                self._quiet.set()

    async def idle(self) -> None:
        """Returns when everything that happened so far has been dealt with, while `run` runs."""
        await self._quiet.wait()

    async def step(self) -> None:
        """Everything that happened so far, into the switch, and then back to push."""
        self._wake.clear()
        if not self._facts.tunnel_ofport:
            return
        inbox, self._inbox = self._inbox, _Inbox()
        position, complete, is_whole = self.rows.position, frozenset(self.rows.complete), self.rows.is_whole
        before = {iface_id: self.deriver.interface(iface_id) for iface_id in inbox.interfaces}
        change = await self._derive(inbox)
        came, gone = self._realised.changed(inbox.places)
        own = {key for scope, key in inbox.places if scope == self._scope}
        self._touched.update(own, inbox.interfaces)
        self._set(inbox, own, is_whole=is_whole)
        self._announcements.changed(change.adds.values(), asyncio.get_running_loop().time())
        self.on_peers(peer for flow in change.adds.values() for peer in tunnel_peers(flow))
        try:
            if inbox.switch is None:
                await self.reconciler.forget_connections(came)
            await self._to_switch(inbox, before, change)
            await self.reconciler.empty(gone)
            if is_whole and self.reconciler.is_attached:
                await self.reconciler.settle()
            if inbox.is_audit_due:
                await self.reconciler.audit()
            if self._announcements.is_due and self.reconciler.is_attached:
                await self._announce()
        except SwitchGone:
            self.reconciler.detach()
        if self.reconciler.is_attached and not self.reconciler.keeps_inherited:
            self._report(position, complete)

    def _set(self, inbox: _Inbox, own: set[str], *, is_whole: bool) -> None:
        """Asks for what interfaces lack: those of changed rows, those that changed, and now and then all."""
        names = self._settings.changed(own, self.rows.scopes.get(self._scope, {})) | inbox.interfaces.keys()
        if inbox.is_audit_due or not self.reconciler.is_settled:
            names.update(interface.iface_id for interface in self.deriver.interfaces())
        for interface in filter(None, map(self.deriver.interface, names)):
            if lacking := self._settings.lacking(interface, is_whole=is_whole):
                self.on_setting(interface.name, lacking)

    async def _turn_complete(self) -> None:
        """Scopes come one by one before the row that needs them: a step for each would be a bundle for each."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ENTER_WAIT_S):
                await self._entered.wait()
        self._entered.set()

    async def _announce(self) -> None:
        """Tells machines here whose address is another's now; what is too much at once waits."""
        loop = asyncio.get_running_loop()
        for packet, actions in self._announcements.take(loop.time()):
            await self.reconciler.put_out(packet, actions)
        if self._announcements.is_due:
            loop.call_later(WINDOW_S, self._ring)

    def _mute(self, iface_id: str) -> None:
        """Lets the switch tell nothing of the port for a while."""
        self._hear(iface_id, is_heard=False)
        asyncio.get_running_loop().call_later(WINDOW_S, lambda: self._hear(iface_id, is_heard=True))

    def _hear(self, iface_id: str, *, is_heard: bool) -> None:
        interface = self._inbox.interfaces.get(iface_id, self.deriver.interface(iface_id))
        if interface is not None and interface.is_heard != is_heard:
            self._inbox.interfaces[iface_id] = replace(interface, is_heard=is_heard)
            self._ring()

    def _ring(self) -> None:
        self._quiet.clear()
        self._wake.set()

    async def _derive(self, inbox: _Inbox) -> Change:
        derived = self.deriver.derived
        interfaces = [interface or iface_id for iface_id, interface in inbox.interfaces.items()]
        change = self.deriver.apply((), interfaces, self._facts)
        places = list(inbox.places)
        for start in range(0, len(places), PLACES_PER_SLICE):
            change.follow(self.deriver.apply(places[start : start + PLACES_PER_SLICE]))
            await asyncio.sleep(0)
        self.meters.counter(FLOWS_DERIVED).inc(self.deriver.derived - derived)
        return change

    async def _to_switch(self, inbox: _Inbox, before: dict[str, Interface | None], change: Change) -> None:
        gone = [was.ofport for was in before.values() if was is not None]
        current = [interface.ofport for interface in inbox.interfaces.values() if interface is not None]
        for ofport in set(gone) - set(current):
            self.reconciler.unplugged(ofport)
        if inbox.switch is not None:
            ofports = (interface.ofport for interface in self.deriver.interfaces())
            had = await self.reconciler.attach(inbox.switch, (*ofports, *self._realised.zones))
            self._announcements.attached(had, asyncio.get_running_loop().time())
            self.on_attached()
        elif self.reconciler.is_attached:
            await self.reconciler.forget_connections(current)
            await self.reconciler.apply(change)

    def _report(self, position: Position | None, complete: frozenset[str]) -> None:
        """Tells push what the switch has, as of `position`."""
        failures = self.rows.faults | self.deriver.failed
        for identity, reason in self.reconciler.refused.items():
            failures.update(dict.fromkeys(self.deriver.owners(identity), reason))
        # What has changed during this step is not in the switch yet.
        later = {
            key for scope, key in self._inbox.places if scope == self._scope
        } | self._inbox.interfaces.keys()
        ready, self._touched = self._touched - later, self._touched & later
        reports = self._realised.reports(self._scope, ready, complete, failures)
        own = self.rows.scopes.get(self._scope, {})
        for key in ready:
            if key not in own:
                self.session.forget_report(key)
        if position is not None:
            told = [Failure(scope, key, reason) for (scope, key), reason in sorted(failures.items())]
            self.session.ack(position, reports, told)


async def run(settings: Settings, features: Sequence[HostFeature], meters: Meters) -> None:
    """The agent of this machine, until cancelled; alone with its bridge."""
    where = str(settings.openflow_dir / f"{settings.bridge}.mgmt")
    async with only_agent(where):
        await _run_alone(settings, features, meters, where)


async def _run_alone(settings: Settings, features: Sequence[HostFeature], meters: Meters, where: str) -> None:
    host = settings.host or socket.gethostname()
    rows = HostRows([kind for feature in features for kind in feature.rows])
    mappings = settings.bridge_mappings
    identity = HostIdentity(
        host, settings.tunnel_ip, version("alcor"), settings.bridge, mappings, settings.availability_zone
    )
    session = Session(identity, rows, meters)
    agent = HostAgent(features, session, HostFacts(host, settings.tunnel_ip, 0), meters)
    neighbours = TunnelNeighbours(settings.tunnel_ip)
    agent.on_peers, agent.on_attached = neighbours.meet, neighbours.ask_all
    bridges = Bridges(settings.bridge, mappings)
    plug = Plug(settings.ovsdb, bridges, settings.tunnel_ip, agent.plugged)
    agent.on_setting = plug.set_up
    agent.survey.look = lambda: flows_of(where)
    backoff = Backoff(settings.reconnect_ms_min, settings.reconnect_ms_max, random.SystemRandom())
    gc.set_threshold(*GC_THRESHOLDS)
    log("agent started", host=host, bridge=settings.bridge, tunnel_ip=settings.tunnel_ip)
    if is_loopback(Cidr(settings.tunnel_ip)):
        to_do = "set tunnel_ip (--tunnel-ip) to this host's address in the network between hosts"
        log_warning("no other host reaches this one", tunnel_ip=settings.tunnel_ip, to_do=to_do)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(agent.run(), name="agent")
            tasks.create_task(plug.start(), name="plug")
            tasks.create_task(
                keep_switch(agent, where, Bounds(bundle_max=settings.bundle_max), meters), name="switch"
            )
            tasks.create_task(
                run_session(session, dialler(settings), agent.rows_changed, backoff), name="session"
            )
            tasks.create_task(_audit(agent, settings), name="audit")
            tasks.create_task(neighbours.refresh(), name="neighbours")
    finally:
        agent.inspector.close()
        neighbours.close()
        await plug.stop()


async def keep_switch(agent: HostAgent, where: str, bounds: Bounds, meters: Meters) -> None:
    """Keeps the agent connected to the switch whose socket is `where`, until cancelled."""

    async def heard(packet: PacketIn) -> None:
        await agent.packet_told(packet.userdata, packet.packet)

    is_told = False
    while True:
        try:
            switch = await Switch.connect(where, heard, bounds)
        except SwitchGone as gone:
            if not is_told:
                to_do = "start ovs-vswitchd, or set openflow_dir (--openflow-dir) and bridge (--bridge)"
                log_warning("switch out of reach", where=where, why=str(gone), to_do=to_do)
            is_told = True
            await asyncio.sleep(SWITCH_RETRY_S)
            continue
        is_told = False
        meters.counter(SWITCH_CONNECTS).inc()
        try:
            agent.switch_connected(switch)
            await _watch(agent, switch)
            await switch.closed.wait()
            log_warning("switch lost", why=switch.why_closed)
        finally:
            agent.switch_gone()
            await switch.close()


async def _watch(agent: HostAgent, switch: Switch) -> None:
    try:
        await switch.watch(agent.disturbed.set)
    except SwitchRefused as refusal:
        log_warning("what others change is found by audits only", why=str(refusal))
    except SwitchGone:
        return  # whoever waits for its end is told at once


async def flows_of(where: str) -> list[Flow]:
    """What the switch has, over a connection of its own: behind a long dump nothing else would get through.

    Raises SwitchGone.
    """
    switch = await Switch.connect(where)
    try:
        return await switch.dump()
    finally:
        await switch.close()


async def _audit(agent: HostAgent, settings: Settings) -> None:
    """Now and then, and soon after others changed something."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(settings.audit_s):
                await agent.disturbed.wait()
                await asyncio.sleep(settings.repair_ms / 1000)
        agent.disturbed.clear()
        agent.audit()
