# SPDX-License-Identifier: Apache-2.0
"""The agent's one OpenFlow connection to its bridge: flows read and changed, packets in and out.

It decides nothing and remembers no flow: what should be in the switch is `agent.reconcile`'s. A connection that has
failed stays failed (`closed` is set, every call raises `SwitchGone`); the agent connects anew and compares.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from alcor.base.telemetry import log_warning
from alcor.dataplane.openflow import messages, replies
from alcor.dataplane.openflow.fields import Malformed
from alcor.dataplane.openflow.messages import Bundle, Command, Kind, MeterCommand
from alcor.dataplane.openflow.replies import Counted, PacketIn, Refused
from alcor.dataplane.values import METER_MAX, Action, Flow, Meter

READ_BYTES = 1 << 20  # what may wait to be read before the switch has to
RETRIES_MAX = 8  # of a bundle without the flow that it was refused for; after that it is halved

OnPacketIn = Callable[[PacketIn], Awaitable[None]]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Bounds:
    """How long the agent waits for the switch, and how much it takes at once."""

    connect_s: float = 5.0
    answer_s: float = 10.0  # to a barrier, an echo or a bundle
    dump_s: float = 60.0  # until all flows have been read
    echo_s: float = 5.0  # pause between probes
    bundle_max: int = messages.BUNDLE_FLOWS_MAX  # flows
    packets_max: int = 1_000  # packets that wait for `on_packet_in`; what comes on top is dropped and counted
    packets_s_max: int = (
        1_000  # packets that the switch tells of in a second; it drops the others' copies itself
    )


class SwitchGone(Exception):
    """The connection has failed or cannot be made, and why. What was being done may or may not have been done."""


class SwitchRefused(Exception):
    """The switch is there and refuses, and why. Nothing was done."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A flow that is not as it was asked for, and why."""

    flow: Flow
    reason: str


@dataclass(frozen=True, slots=True)
class _Change:
    xid: int
    flow: Flow
    encoded: bytes


class Switch:
    """One connection. Made by `connect`; calls may overlap, and changes are done one `apply` after another."""

    def __init__(self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], bounds: Bounds) -> None:
        self.closed = asyncio.Event()
        self.why_closed = ""
        self.packets_dropped = 0
        self._on_disturbed: Callable[[], None] = lambda: None
        self._reader, self._writer = streams
        self._bounds = bounds
        self._xids = _numbers()
        self._bundles = _numbers()
        self._waiting: dict[int, asyncio.Future[list[bytes] | Refused]] = {}
        self._parts: dict[int, list[bytes]] = {}
        self._in_bundle: dict[int, str] = {}  # xid -> why it was refused, "" so far
        self._applying = asyncio.Lock()
        self._packets: asyncio.Queue[PacketIn] = asyncio.Queue(bounds.packets_max)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def connect(
        cls, where: str, on_packet_in: OnPacketIn | None = None, bounds: Bounds | None = None
    ) -> Switch:
        """Connects to a switch's socket (a path, with or without `unix:`) or to `tcp:HOST:PORT`. Raises SwitchGone.

        `on_packet_in` gets packets one after another; if it raises, the connection is closed.
        """
        bounds = bounds or Bounds()
        try:
            async with asyncio.timeout(bounds.connect_s):
                switch = cls(await _open(where), bounds)
        except (OSError, TimeoutError) as error:
            raise SwitchGone(f"{where} cannot be reached: {_said(error)}") from error
        try:
            await switch._start(on_packet_in)
        except BaseException:
            await switch.close()
            raise
        return switch

    async def close(self) -> None:
        """Ends the connection; later calls raise SwitchGone."""
        self._fail("it was closed by the agent")
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        await asyncio.gather(*others, return_exceptions=True)

    async def dump(self, cookie: int = 0, cookie_mask: int = 0) -> list[Flow]:
        """All flows of all tables, or those whose cookie under `cookie_mask` is `cookie`."""
        return [counted.flow for counted in await self.dump_counted(cookie, cookie_mask)]

    async def dump_counted(self, cookie: int = 0, cookie_mask: int = 0) -> list[Counted]:
        """The same with packet and byte counts."""
        xid = next(self._xids)
        request = messages.flow_stats_request(xid, cookie=cookie, cookie_mask=cookie_mask)
        parts = self._granted(await self._ask(xid, request, self._bounds.dump_s))
        flows: list[Counted] = []
        for part in parts:
            flows += self._decoded(replies.flow_stats, part)
            await asyncio.sleep(0)  # 100,000 flows take a second to decode
        if any(_meter_of(counted.flow) for counted in flows):
            meters = {meter.id: meter for meter in await self._meters()}
            flows = [replace(counted, flow=_with_its_meter(counted.flow, meters)) for counted in flows]
        return flows

    async def apply(self, adds: Sequence[Flow], deletes: Sequence[Flow] = ()) -> list[Failure]:
        """Adds (or replaces) flows, then deletes flows by identity, in atomic bundles. Raises SwitchGone.

        When it returns, everything has been done but for the failures. A bundle that the switch refuses is sent again
        without the flow that it was refused for. A delete of an identity that is also added is left out.
        """
        added = {flow.identity for flow in adds} if deletes else set()
        gone = (flow for flow in deletes if flow.identity not in added)
        commands = [(Command.ADD, flow) for flow in adds] + [(Command.DELETE_STRICT, flow) for flow in gone]
        failures: list[Failure] = []
        async with self._applying:
            await self._make_meters({meter.id: meter for flow in adds if (meter := _meter_of(flow))})
            for chunk in _chunks(commands, self._bounds.bundle_max):
                changes = []
                for command, flow in chunk:
                    xid = next(self._xids)
                    try:
                        changes.append(_Change(xid, flow, messages.flow_mod(xid, command, flow)))
                    except ValueError as error:
                        failures.append(Failure(flow, str(error)))
                failures += await self._get_in(changes)
        return failures

    async def keep_meters(self, used: Collection[int]) -> None:
        """Deletes all meters but these, and with them the flows that use them. Raises SwitchRefused."""
        for meter in await self._meters():
            if meter.id not in used and meter.id <= METER_MAX:
                xid = next(self._xids)
                await self._do(xid, messages.meter_mod(xid, MeterCommand.DELETE, meter))

    async def barrier(self) -> None:
        """Returns when the switch has done all that was sent before."""
        xid = next(self._xids)
        self._granted(await self._ask(xid, messages.barrier(xid), self._bounds.answer_s))

    async def watch(self, on_disturbed: Callable[[], None]) -> None:
        """From now on `on_disturbed` is called whenever others change flows. Raises SwitchRefused."""
        self._on_disturbed = on_disturbed
        xid = next(self._xids)
        self._granted(await self._ask(xid, messages.flow_monitor_request(xid), self._bounds.answer_s))

    async def packet_out(
        self, packet: bytes, actions: Sequence[Action], in_port: int = messages.PORT_CONTROLLER
    ) -> None:
        """Sends a packet through actions. Returns when it is on its way; a refusal is logged."""
        message = messages.packet_out(next(self._xids), packet, actions, in_port)
        await self._send(message, self._bounds.answer_s)

    async def flush_ct_zone(self, zone: int) -> None:
        """Forgets all connections of a conntrack zone; returns when that is done. Raises SwitchRefused."""
        xid = next(self._xids)
        await self._do(xid, messages.flush_ct_zone(xid, zone))

    async def map_tunnel_option(self, option_class: int, option_type: int) -> None:
        """Lets `tun_metadata0` stand for a Geneve option of 4 bytes. Raises SwitchRefused if it does already."""
        xid = next(self._xids)
        await self._do(xid, messages.map_tunnel_option(xid, option_class, option_type))

    async def _start(self, on_packet_in: OnPacketIn | None) -> None:
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._keep_alive())]
        if on_packet_in is not None:
            self._tasks.append(asyncio.create_task(self._deliver(on_packet_in)))
        xid = next(self._xids)
        greeting = messages.hello(xid) + messages.set_config(xid) + messages.set_packet_in_format(xid)
        self._granted(await self._ask(xid, greeting + messages.barrier(xid), self._bounds.connect_s))
        if on_packet_in is not None:
            await self._bound_packets()

    async def _bound_packets(self) -> None:
        """However much machines broadcast, the agent has time for its flows; what the packets do otherwise they do."""
        most = self._bounds.packets_s_max
        meter, why = Meter(messages.CONTROLLER_METER, most, most, is_packets=True), ""
        for command in (
            MeterCommand.ADD,
            MeterCommand.MODIFY,
        ):  # the latter where a former connection has made it
            xid = next(self._xids)
            try:
                await self._do(xid, messages.meter_mod(xid, command, meter))
            except SwitchRefused as refusal:
                why = str(refusal)
            else:
                return
        log_warning("packets to the agent are not bounded by the switch", why=why)

    async def _do(self, xid: int, message: bytes) -> None:
        """Sends what the switch answers only by refusing it, and a barrier behind."""
        refusal = self._wait_for(xid)
        try:
            end = next(self._xids)
            self._granted(await self._ask(end, message + messages.barrier(end), self._bounds.answer_s))
            if refusal.done():
                self._granted(refusal.result())
        finally:
            del self._waiting[xid]

    async def _meters(self) -> list[Meter]:
        xid = next(self._xids)
        answer = await self._ask(xid, messages.meter_config_request(xid), self._bounds.dump_s)
        if isinstance(answer, Refused):
            return []  # a datapath without meters; a flow that needs one is refused by itself
        return [meter for part in answer for meter in self._decoded(replies.meter_configs, part)]

    async def _make_meters(self, meters: Mapping[int, Meter]) -> None:
        """Adds the meters, or makes them what they should be. The flow of one that cannot be is refused, and told."""
        if not meters:
            return
        known = {meter.id: meter for meter in await self._meters()}
        changed = [meter for meter in meters.values() if known.get(meter.id) != meter]
        for meter in changed:
            command = MeterCommand.MODIFY if meter.id in known else MeterCommand.ADD
            xid = next(self._xids)
            await self._send(messages.meter_mod(xid, command, meter), self._bounds.answer_s)

    async def _get_in(self, changes: list[_Change]) -> list[Failure]:
        """Gets in all changes but those that are refused, each of which is told."""
        failures: list[Failure] = []
        for _ in range(RETRIES_MAX):
            if not changes:
                return failures
            refused, reasons = await self._commit(changes)
            failures += [
                Failure(change.flow, reasons[change.xid]) for change in changes if reasons[change.xid]
            ]
            if refused is None:
                return failures
            left = [change for change in changes if not reasons[change.xid]]
            if len(left) == len(changes) == 1:
                return [*failures, Failure(left[0].flow, refused.reason)]
            if len(left) == len(changes):
                break
            changes = left
        middle = (len(changes) + 1) // 2
        for half in (changes[:middle], changes[middle:]):
            failures += await self._get_in(half)
        return failures

    async def _commit(self, changes: list[_Change]) -> tuple[Refused | None, dict[int, str]]:
        """One bundle: whether the whole was refused, and why each change was ("" if it was not)."""
        number, opening, commit = next(self._bundles), next(self._xids), next(self._xids)
        parts = [messages.bundle(opening, Bundle.OPEN, number)]
        parts += [messages.bundle_add(change.xid, number, change.encoded) for change in changes]
        parts.append(messages.bundle(commit, Bundle.COMMIT, number))
        reasons = self._in_bundle = dict.fromkeys([opening, *(change.xid for change in changes)], "")
        try:
            answer = await self._ask(commit, b"".join(parts), self._bounds.answer_s)
        finally:
            self._in_bundle = {}
        if reasons[opening]:
            raise SwitchRefused(reasons[opening])
        return (answer if isinstance(answer, Refused) else None), reasons

    async def _ask(self, xid: int, message: bytes, wait_s: float) -> list[bytes] | Refused:
        """Sends and waits for the answer to `xid`. A switch that does not answer in time is gone."""
        answer = self._wait_for(xid)
        try:
            async with asyncio.timeout(wait_s):
                await self._send(message, wait_s)
                return await answer
        except TimeoutError:
            self._fail(f"it did not answer within {wait_s:g} s")
            raise SwitchGone(self.why_closed) from None
        finally:
            del self._waiting[xid]
            self._parts.pop(xid, None)

    def _wait_for(self, xid: int) -> asyncio.Future[list[bytes] | Refused]:
        if self.closed.is_set():
            raise SwitchGone(self.why_closed)
        self._waiting[xid] = asyncio.get_running_loop().create_future()
        return self._waiting[xid]

    async def _send(self, message: bytes, wait_s: float) -> None:
        if self.closed.is_set():
            raise SwitchGone(self.why_closed)
        self._writer.write(message)
        try:
            async with asyncio.timeout(wait_s):
                await self._writer.drain()
        except (OSError, TimeoutError) as error:
            self._fail(f"it takes no more messages: {_said(error)}")
            raise SwitchGone(self.why_closed) from error

    def _granted(self, answer: list[bytes] | Refused) -> list[bytes]:
        if isinstance(answer, Refused):
            raise SwitchRefused(answer.reason)
        return answer

    def _decoded(self, decode: Callable[[bytes], _T], body: bytes) -> _T:
        try:
            return decode(body)
        except Malformed as error:
            self._fail(f"it does not speak OpenFlow as we know it: {error}")
            raise SwitchGone(self.why_closed) from error

    async def _listen(self) -> None:
        try:
            while True:
                kind, length, xid = replies.header(await self._reader.readexactly(messages.HEADER_BYTES))
                self._hear(kind, xid, await self._reader.readexactly(length - messages.HEADER_BYTES))
        except asyncio.IncompleteReadError:
            self._fail("it closed the connection")
        except OSError as error:
            self._fail(f"the connection broke: {error}")
        except Malformed as error:
            self._fail(f"it does not speak OpenFlow as we know it: {error}")

    def _hear(self, kind: int, xid: int, body: bytes) -> None:
        match kind:
            case Kind.ECHO_REQUEST:
                self._writer.write(messages.echo_reply(xid, body))
            case Kind.ECHO_REPLY | Kind.BARRIER_REPLY | Kind.BUNDLE_CONTROL:
                self._answer(xid, [body])
            case Kind.MULTIPART_REPLY:
                self._hear_part(xid, body)
            case Kind.ERROR:
                self._hear_refusal(replies.refused(xid, body))
            case Kind.EXPERIMENTER:
                self._hear_packet(replies.packet_in(body))
            case _:
                pass  # hello, and news of ports and flows that the agent has from elsewhere

    def _hear_part(self, xid: int, body: bytes) -> None:
        if xid not in self._waiting:
            if replies.tells_of_others(body):
                self._on_disturbed()
            return
        self._parts.setdefault(xid, []).append(body)
        if not replies.has_more(body):
            self._answer(xid, self._parts.pop(xid))

    def _hear_refusal(self, refused: Refused) -> None:
        if refused.xid in self._in_bundle:
            self._in_bundle[refused.xid] = refused.reason
        elif not self._answer(refused.xid, refused):
            log_warning("switch refused a message", xid=refused.xid, reason=refused.reason)

    def _hear_packet(self, packet: PacketIn | None) -> None:
        if packet is None:
            return
        try:
            self._packets.put_nowait(packet)
        except asyncio.QueueFull:
            self.packets_dropped += 1

    def _answer(self, xid: int, answer: list[bytes] | Refused) -> bool:
        waiting = self._waiting.get(xid)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(answer)
        return True

    async def _deliver(self, on_packet_in: OnPacketIn) -> None:
        try:
            while True:
                await on_packet_in(await self._packets.get())
        except Exception as error:  # noqa: BLE001  # evidence is kept in why_closed: the agent must not run on without packets
            self._fail(f"a packet could not be dealt with: {error!r}")

    async def _keep_alive(self) -> None:
        try:
            while True:
                await asyncio.sleep(self._bounds.echo_s)
                xid = next(self._xids)
                await self._ask(xid, messages.echo_request(xid), self._bounds.answer_s)
        except SwitchGone:
            return  # `closed` says so

    def _fail(self, why: str) -> None:
        if self.closed.is_set():
            return
        self.why_closed = f"the switch is gone: {why}"
        self.closed.set()
        self._writer.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(SwitchGone(self.why_closed))
                waiting.exception()  # it may be that nobody waits any more
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()


def _meter_of(flow: Flow) -> Meter | None:
    first = flow.actions[0] if flow.actions else None
    return first if isinstance(first, Meter) else None


def _with_its_meter(flow: Flow, meters: Mapping[int, Meter]) -> Flow:
    meter = _meter_of(flow)
    return replace(flow, actions=(meters.get(meter.id, meter), *flow.actions[1:])) if meter else flow


async def _open(where: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if where.startswith("tcp:"):
        host, _, port = where.removeprefix("tcp:").rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port), limit=READ_BYTES)
    return await asyncio.open_unix_connection(where.removeprefix("unix:"), limit=READ_BYTES)


def _numbers() -> Iterator[int]:
    while True:
        yield from range(1, 1 << 32)


def _said(error: Exception) -> str:
    return str(error) or "it does not answer"


def _chunks(things: Iterable[_T], size: int) -> Iterator[list[_T]]:
    rest = iter(things)
    while chunk := list(islice(rest, size)):
        yield chunk
