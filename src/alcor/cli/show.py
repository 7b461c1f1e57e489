# SPDX-License-Identifier: Apache-2.0
"""`alcor show`: what is wanted of hosts, what they have applied, what their switches have, and the difference.

Asked of a running push, which asks the hosts. What the lines stand for is in docs/show.md.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from alcor.base.config import Settings
from alcor.base.wire.held import FlowDifference, FlowsHeld, Held, Listed, RowHeld
from alcor.push.ask import NotAnswered, ask
from alcor.push.show import AgentRefused, HostShown, ScopeShown, Shown

_ASKED = {"hosts": "hosts", "host": "host", "port": "row", "scope": "scope"}
_UNKNOWN = {
    "host": "push knows no host {}: no agent of that name is connected, and no port is bound to it",
    "port": "no host is wanted to have port {}: none has this id or name, or it is bound to no host",
    "scope": "no row is in scope {}",
}
_GOOD = ("same", "in the switch")


async def run(options: argparse.Namespace, settings: Settings) -> int:
    """Prints the answer, as text or with --json; 1 if there is none, the reason said in one line."""
    if options.what != "hosts" and not options.name:
        print(f"alcor: say which {options.what}: alcor show {options.what} NAME", file=sys.stderr)
        return 2
    try:
        shown = await ask(settings, _ASKED[options.what], options.name or "")
    except (NotAnswered, OSError) as wrong:
        print(f"alcor: {wrong}", file=sys.stderr)
        return 1
    if shown is None:
        print(f"alcor: {_UNKNOWN[options.what].format(options.name)}.", file=sys.stderr)
        return 1
    if shown.named and not options.json:
        known = f"{len(shown.named)} have the name {options.name}; ask for one by its id: {', '.join(shown.named)}"
        print(f"alcor: {known}.", file=sys.stderr)
        return 1
    with suppress(BrokenPipeError):  # whoever reads has seen enough
        if options.json:
            print(msgspec.json.format(msgspec.json.encode(shown)).decode(), flush=True)
        else:
            draw(options.what, shown, Console(highlight=False))
    return 0


def draw(what: str, shown: Shown, console: Console) -> None:
    """The answer for a person, as wide as the console is; nothing is cut off."""
    page = _Page(console)
    page.line(f"What is wanted of hosts, as the log says it up to its revision {shown.revision}.")
    match what:
        case "hosts":
            _draw_hosts(page, shown.hosts)
            _draw_refused(page, shown.refused)
        case "host":
            _draw_scopes(page, shown.scopes)
            for host in shown.hosts:
                _draw_host(page, host)
        case "scope":
            _draw_scopes(page, shown.scopes)
            _draw_holders(page, shown.hosts)
        case _:
            _draw_scopes(page, shown.scopes)
            for host in shown.hosts:
                _draw_row(page, host)
            if not shown.hosts:
                page.line("It is no host's own row: what its flows are, nobody was asked.")


class _Page:
    """Lines and tables on a console. What hosts say goes through `_plain`: it is theirs, the terminal is not."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str = "", indent: int = 0, style: str = "") -> None:
        """One line, folded behind commas and blanks where it is too long."""
        margin = " " * indent
        lines = _folded(_plain(text), max(self._console.width - indent, 1))
        self._console.print(Text("\n".join(margin + line for line in lines), style=style))

    def title(self, text: str) -> None:
        """The head of a part."""
        self._console.print()
        self.line(text, style="bold")

    def table(self, heads: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
        """A table; a state that is not good is red."""
        table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for head in heads:
            table.add_column(
                head.removeprefix("#"), overflow="fold", justify="right" if head[0] == "#" else "left"
            )
        for line in lines:
            table.add_row(*(Text(_plain(str(cell)), style=_style(str(cell))) for cell in line))
        self._console.print(table)


def _folded(text: str, width: int) -> list[str]:
    lines = [""]
    for word in re.findall(r"[^, ]*[, ]?", text):
        if len(lines[-1]) + len(word.rstrip()) > width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += word
        while len(lines[-1].rstrip()) > width:  # one word is longer than a line
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return lines


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _style(cell: str) -> str:
    bad = (
        "missing",
        "different",
        "incomplete",
        "altered",
        "refused",
        "stale",
        "foreign",
        "not needed",
        "none",
    )
    return "red" if cell in bad else "yellow" if cell in ("behind", "silent", "not bound here") else ""


def _draw_hosts(page: _Page, hosts: Sequence[HostShown]) -> None:
    heads = ("host", "session", "#told", "#acked", "#lag", "#own rows", "#scopes", "#waiting", "#failing")
    page.table(
        heads,
        (
            (
                *(host.host, "open" if host.is_connected else "none"),
                *(_number(host.told), _number(host.acked), _number(host.lag)),
                *(host.own_rows, host.scopes, host.waiting_rows or "-", host.failures.count or "-"),
            )
            for host in hosts
        ),
    )
    for host in hosts:
        _draw_failures(page, host)


def _draw_refused(page: _Page, refused: Sequence[AgentRefused]) -> None:
    for each in refused:
        times = f"{each.count} times, last at" if each.count > 1 else "at"
        page.line(f"Refused an agent from {each.peer}, {times} {each.last_at}: {each.reason}.", style="red")


def _number(number: int | None) -> str:
    return "-" if number is None else str(number)


def _draw_failures(page: _Page, host: HostShown) -> None:
    for fault in host.failures.first:
        page.line(f"{host.host}: {fault.scope} {fault.key}: {fault.reason}", style="red")
    _draw_rest(page, host.failures)


def _draw_rest(page: _Page, listed: Listed[Any], indent: int = 0) -> None:
    if listed.count > len(listed.first):
        page.line(f"… and {listed.count - len(listed.first)} more", indent)


def _draw_scopes(page: _Page, scopes: Sequence[ScopeShown]) -> None:
    for scope in scopes:
        page.title(f"{scope.scope}: {_count(scope.rows.count, 'row')} for {_hosts(scope.hosts)}")
        for shown in scope.rows.first:
            page.line(shown.key, 2)
            kind = str(shown.row.get("kind", ""))
            fields = (f"{name}={_field(value)}" for name, value in shown.row.items() if name != "kind")
            page.line(" ".join((kind, *fields)), 4, "dim")
        _draw_rest(page, scope.rows, 2)


def _field(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _hosts(hosts: Sequence[str]) -> str:
    most = 5
    if not hosts:
        return "nobody"
    rest = f" and {len(hosts) - most} more" if len(hosts) > most else ""
    return ", ".join(hosts[:most]) + rest


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _draw_session(page: _Page, host: HostShown) -> None:
    page.title(f"Host {host.host}")
    if not host.is_connected:
        page.line("It has no session.", style="red")
        return
    lag = f", {host.lag} behind" if host.lag else ""
    page.line(f"Told up to revision {_number(host.told)}; its switch is at {_number(host.acked)}{lag}.")
    if not host.is_whole:
        page.line("It was not sent yet all that it needs.", style="yellow")
    if host.waiting_rows:
        page.line(f"Waiting to be sent: {_count(host.waiting_rows, 'row')}, {host.waiting_bytes} bytes.")
    if host.held is None:
        page.line(f"What it has is not known: {host.silence}.", style="red")
    elif not host.held.is_whole:
        page.line("It has not received yet all that it needs.", style="yellow")


def _draw_host(page: _Page, host: HostShown) -> None:
    _draw_session(page, host)
    _draw_failures(page, host)
    if host.held is None:
        return
    heads = ("scope", "#wanted", "#held", "state")
    page.table(
        heads, ((each.scope, each.wanted, _number(each.held), each.state) for each in host.scope_states)
    )
    for fault in host.held.faults.first:
        page.line(f"{fault.scope} {fault.key}: {fault.reason}", style="red")
    _draw_rest(page, host.held.faults)
    interfaces = host.held.interfaces
    if interfaces.count:
        plugged = (
            (each.name, each.ofport, each.iface_id, "" if each.is_bound else "not bound here")
            for each in interfaces.first
        )
        page.table(("interface", "#port", "iface-id", "state"), plugged)
        _draw_rest(page, interfaces)
    _draw_switch(page, host.held)
    _draw_verdict(page, host, host.held)


def _draw_switch(page: _Page, held: Held) -> None:
    if held.flows is None:
        page.line(f"Flows are not known: {held.why_no_flows}.", style="yellow")
        return
    flows = held.flows
    page.line(f"Flows: {flows.wanted} wanted, {flows.held} in the switch.")
    if held.is_busy:
        page.line("Changes are on their way into the switch: what differs may be those.", style="yellow")
    if held.keeps_inherited:
        page.line("Flows of a former agent stay until the host has all that it needs.", style="yellow")
    for each in flows.difference.first:
        _draw_difference(page, each)
    _draw_rest(page, flows.difference)


def _draw_difference(page: _Page, each: FlowDifference) -> None:
    page.line(each.state + (f": {each.reason}" if each.reason else ""), 2, "red")
    if each.wanted:
        page.line(f"wanted  {each.wanted}", 4)
    if each.held:
        page.line(f"has     {each.held}", 4)
    for scope, key in each.rows:
        page.line(f"for     {scope} {key}", 4, "dim")


def _draw_verdict(page: _Page, host: HostShown, held: Held) -> None:
    wrong = [each.state for each in host.scope_states if each.state not in (*_GOOD, "")]
    words = [_count(len(wrong), "scope")] if wrong else []
    words += [_count(host.failures.count, "failing row")] if host.failures.count else []
    words += _flow_words(held.flows) if held.flows is not None else []
    if words:
        page.line(f"Difference: {', '.join(words)}.", style="red")
    elif held.flows is None:
        page.line("Difference: none in rows; its switch was not read.", style="yellow")
    else:
        page.line("Difference: none. It has what is wanted, and so has its switch.", style="green")


def _flow_words(flows: FlowsHeld) -> list[str]:
    counts = {state: getattr(flows, state) for state in ("missing", "refused", "altered", "stale", "foreign")}
    return [f"{_count(count, 'flow')} {state}" for state, count in counts.items() if count]


def _draw_holders(page: _Page, hosts: Sequence[HostShown]) -> None:
    page.title(f"Needed by {_count(len(hosts), 'host')}")
    lines = []
    for host in hosts:
        state = next(iter(host.scope_states), None)
        held = _number(state.held) if state is not None else "-"
        told = state.state if state is not None and state.state else "silent"
        lines.append((host.host, held, told, host.silence))
    if hosts:
        page.table(("host", "#rows held", "state", "why it is silent"), lines)


def _draw_row(page: _Page, host: HostShown) -> None:
    _draw_session(page, host)
    if host.held is None or host.held.row is None:
        return
    row = host.held.row
    page.table(("row held in", "state"), ((each.scope, each.state) for each in host.row_states))
    _draw_realised(page, row)
    for fault in (each for each in host.held.faults.first if each.key == row.key):
        page.line(f"{fault.scope}: {fault.reason}", style="red")
    if host.held.why_no_flows:
        page.line(f"Flows are not known: {host.held.why_no_flows}.", style="yellow")
    elif host.held.is_busy:
        page.line("Changes are on their way into the switch: what differs may be those.", style="yellow")
    _draw_flows(page, row)


def _draw_realised(page: _Page, row: RowHeld) -> None:
    report = row.report
    if report is not None and report.is_realised:
        page.line(f"Realised in generation {report.generation}.", style="green")
    elif report is not None:
        page.line(f"Not realised in generation {report.generation}: {report.reason}.", style="red")
    else:
        page.line("Not reported as realised.", style="yellow")
    if row.waits_for:
        page.line(f"It waits for {', '.join(row.waits_for)}.", style="yellow")
    if row.interface is not None:
        page.line(f"Interface {row.interface.name}, OpenFlow port {row.interface.ofport}.")


def _draw_flows(page: _Page, row: RowHeld) -> None:
    flows = row.flows
    good = sum(flow.state in _GOOD for flow in flows.first)
    known = all(flow.state for flow in flows.first)
    if flows.count:
        there = f", {good} of them in the switch" if known else ""
        page.line(f"It stands for {_count(flows.count, 'flow')}{there}:")
    told = ""
    for flow in sorted(flows.first, key=lambda flow: flow.state in _GOOD):
        head = (flow.state or "not known whether in the switch") + (f": {flow.reason}" if flow.reason else "")
        if head != told:
            page.line(head, 2, "" if flow.state in (*_GOOD, "") else "red")
        told = head
        page.line(flow.flow, 4)
        if flow.held:
            page.line(f"has {flow.held}", 4, "red")
    _draw_rest(page, flows, 2)
