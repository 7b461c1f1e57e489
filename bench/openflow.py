# SPDX-License-Identifier: Apache-2.0
"""How fast flows go to a real switch and come back: `python bench/openflow.py` (needs root and Open vSwitch).

`--small` does a tenth of 100,000 flows. Encoding and decoding are measured apart, without a switch.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable

from harness import Figure, Report, options, percentile

from alcor.agent.switch import Switch
from alcor.base.telemetry import configure_log
from alcor.dataplane.openflow import messages, replies
from alcor.dataplane.openflow.messages import Command
from alcor.dataplane.values import Conjunction, Flow, Output, Resubmit, SetField, match
from alcor.lab import Underlay

ROUNDS = 5
SINGLE_ROUNDS = 500
VXLAN = 1
FLOWS_REPLY = b"\0\1" + bytes(6)  # head of a multipart reply that tells flows


def flows(count: int) -> list[Flow]:
    """What a host holds: mostly neighbours behind tunnels, some clauses of rules, some local ports."""
    made = []
    for number in range(count):
        mac = 0xFA163E000000 + number
        address = 0x0A000000 + number
        tracked = {"eth_type": 0x0800, "ct_state": (0x20, 0x30)}
        match number % 10:
            case 0:
                wanted = match_of(60, **tracked, ct_nw_src=(address & ~0xFF, 0xFFFFFF00), reg6=number)
                made.append(Flow(*wanted, (Conjunction(number, 2, 3), Conjunction(number + 1, 2, 3)), number))
            case 1:
                wanted = match_of(
                    50, in_port=number % 60_000 + 1, eth_type=0x0800, eth_src=mac, ip_src=address
                )
                made.append(
                    Flow(
                        *wanted,
                        (SetField("reg2", number), SetField("reg5", number & 0xFFFF), Resubmit(60)),
                        7,
                    )
                )
            case _:
                there = (
                    SetField("tun_id", 5001),
                    SetField("tun_dst", 0x0A630000 + number % 1000),
                    Output(VXLAN),
                )
                made.append(Flow(*match_of(80, reg0=5001, eth_dst=mac), there, number))
    return made


def match_of(table: int, **fields: int | tuple[int, int]) -> tuple[int, int, tuple[object, ...]]:
    """Identity of a flow of a table."""
    return table, 100, match(**fields)


def codec(wanted: list[Flow], report: Report) -> None:
    """Time for one flow, each way; the collector is off."""
    encoded = [messages.flow_mod(1, Command.ADD, flow) for flow in wanted]
    # Each round decodes what it has not decoded before, as a dump after a restart does.
    size = len(encoded) // ROUNDS
    parts = [
        b"".join(_as_stats(each) for each in encoded[start : start + size])
        for start in range(0, len(encoded), size)
    ]
    each = len(wanted) / 1e6
    gc.disable()
    encode = [
        _timed(lambda: [messages.flow_mod(1, Command.ADD, flow) for flow in wanted]) / each
        for _ in range(ROUNDS)
    ]
    decode = [
        _timed(lambda part=part: replies.flow_stats(FLOWS_REPLY + part)) / each * ROUNDS for part in parts
    ]
    gc.enable()
    report.add(Figure("encode one flow", "us", encode))
    report.add(Figure("decode one flow", "us", decode))


def _as_stats(flow_mod: bytes) -> bytes:
    body = flow_mod[48:]
    head = (48 + len(body)).to_bytes(2, "big") + flow_mod[24:25] + bytes(9) + flow_mod[30:32] + bytes(10)
    return head + flow_mod[8:16] + bytes(16) + body


async def with_switch(wanted: list[Flow], report: Report) -> None:
    """Flows sent, read back, changed one by one, and deleted."""
    count = f"{len(wanted):,} flows"
    async with Underlay() as underlay:
        (host,) = await underlay.add_hosts("one")
        switch = await Switch.connect(str(host.bridge_mgmt))
        sent, read = [], []
        for _ in range(3):
            begin = time.perf_counter()
            assert await switch.apply(wanted) == []
            sent.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            there = await switch.dump()
            read.append(time.perf_counter() - begin)
            assert set(there) == set(wanted), "the switch gives back other flows than were sent"
            if len(sent) == 3:
                break
            assert await switch.apply([], wanted) == []
        report.add(Figure(f"send {count}", "s", sent))
        report.add(Figure(f"read {count} back, equal", "s", read))
        single = [await _one(switch, number) * 1000 for number in range(SINGLE_ROUNDS)]
        said = f"p99 {percentile(single, 99):.2f} ms"
        report.add(Figure(f"send one flow with {count} there", "ms", single, note=said))
        begin = time.perf_counter()
        assert await switch.apply([], wanted) == []
        report.add(Figure(f"delete {count}", "s", [time.perf_counter() - begin]))
        await switch.close()


async def _one(switch: Switch, number: int) -> float:
    begin = time.perf_counter()
    await switch.apply([Flow(80, 101, match(reg0=7, eth_dst=number), (Output(VXLAN),))])
    return time.perf_counter() - begin


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    """Prints the machine, the commit and the figures."""
    asked = options(__doc__)
    configure_log("error", "text")
    report = Report(asked)
    wanted = flows(10_000 if asked.small else 100_000)
    codec(wanted, report)
    if os.geteuid() == 0:
        asyncio.run(with_switch(wanted, report))
    report.close()


if __name__ == "__main__":
    main()
