# SPDX-License-Identifier: Apache-2.0
"""Tells the machines of this host that an address has become another port's, as ANSWER would if they asked.

They remember a MAC for up to a minute, and would meanwhile send to one that nobody has any more.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping

from alcor.agent.claims import Window
from alcor.agent.derive import Identity
from alcor.dataplane.pipeline import ANSWER, DESTINATION, FLOOD_LOCAL, go, load, where
from alcor.dataplane.values import Action, Flow, SetField

KNOWN_MAX = 100_000  # addresses whose MACs are remembered; beyond it all are forgotten
REMEMBERED_S = 60.0  # machines do not remember a MAC for longer
TOLD_MAX = 100  # announcements in one window; the others wait for the next

_VNI = load("vni", 0).field
_ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")


class Announcements:
    """Which addresses have changed hands. `wanted` are the flows of this host, by identity."""

    def __init__(self, wanted: Mapping[Identity, Flow]) -> None:
        self._wanted = wanted
        self._macs: dict[Identity, int] = {}  # the last that had the address, also where nobody has it now
        self._due: dict[Identity, None] = {}
        self._window = Window(TOLD_MAX)
        self._doubted_until_s: float | None = (
            None  # until then all that is new is told; None: no switch was met yet
        )

    @property
    def is_due(self) -> bool:
        """Whether there is more to be told."""
        return bool(self._due)

    def attached(self, held: Iterable[Flow], now_s: float) -> None:
        """A switch has these flows; `now_s` is monotonic.

        Those of the first one are of a former agent: what it knew of addresses that nobody had any more is lost.
        """
        answers = {flow.identity: flow for flow in held if _answering(flow) is not None}
        self.changed(answers.values(), now_s)
        if self._doubted_until_s is None and answers:
            self._due.update(dict.fromkeys(self._macs.keys() - answers.keys()))
        if self._doubted_until_s is None:
            self._doubted_until_s = now_s + REMEMBERED_S if answers else now_s

    def changed(self, flows: Iterable[Flow], now_s: float) -> None:
        """These flows are new, or others than before."""
        is_doubted = self._doubted_until_s is not None and now_s < self._doubted_until_s
        for flow in flows:
            mac = _answering(flow)
            if mac is None:
                continue
            known = self._macs.get(flow.identity)
            if known != mac and (known is not None or is_doubted):
                self._due[flow.identity] = None
            if len(self._macs) >= KNOWN_MAX:
                self._macs.clear()
            self._macs[flow.identity] = mac

    def take(self, now_s: float) -> Iterator[tuple[bytes, tuple[Action, ...]]]:
        """Packets to be put out now, and through which actions; `now_s` is monotonic."""
        while self._due and self._window.take(now_s):
            identity = next(iter(self._due))
            del self._due[identity]
            flow = self._wanted.get(identity)
            mac = _answering(flow) if flow else None
            if mac is not None:
                self._macs[identity] = mac
                yield self._announcement(identity, mac)

    def _announcement(self, identity: Identity, mac: int) -> tuple[bytes, tuple[Action, ...]]:
        """To every machine of the network but the owner, who would take its own address for a duplicate."""
        fields = {term.field: term.value for term in identity[2]}
        vni = fields[_VNI]
        here = self._wanted.get((DESTINATION.number, 10, where(vni=vni, eth_dst=mac)))
        owner = here.actions[0] if here else None
        source_port = load("source_port", owner.value if isinstance(owner, SetField) else 0)
        address = fields["arp_tpa"].to_bytes(4) if "arp_tpa" in fields else fields["nd_target"].to_bytes(16)
        return _frame(mac.to_bytes(6), address), (load("vni", vni), source_port, go(FLOOD_LOCAL))


def _answering(flow: Flow) -> int | None:
    """The MAC with which the flow answers for an address, if it does."""
    if flow.table != ANSWER.number:
        return None
    return next(
        (act.value for act in flow.actions if isinstance(act, SetField) and act.field == "eth_src"), None
    )


def _frame(mac: bytes, address: bytes) -> bytes:
    """An ARP announcement (RFC 5227), or an unsolicited neighbour advertisement that overrides (RFC 4861)."""
    if len(address) == 4:
        told = bytes.fromhex("0001 0800 06 04 0001") + mac + address + bytes(6) + address
        return b"\xff" * 6 + mac + b"\x08\x06" + told
    told = bytes.fromhex("88 00 0000 20000000") + address + b"\x02\x01" + mac
    summed = struct.unpack(">36H", address + _ALL_NODES + struct.pack(">II", len(told), 58) + told)
    told = told[:2] + int(-sum(summed) % 0xFFFF).to_bytes(2) + told[4:]
    header = bytes.fromhex("333300000001") + mac + bytes.fromhex("86dd 60000000 0020 3a ff")
    return header + address + _ALL_NODES + told
