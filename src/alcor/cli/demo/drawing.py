# SPDX-License-Identifier: Apache-2.0
"""The demo's result drawn for a terminal: hosts with their virtual machines, who reaches whom, what each host holds."""

from collections.abc import Sequence

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from alcor.cli.demo.play import Actor, Outcome, Seen
from alcor.cli.demo.scene import NETWORKS, VMS
from alcor.cli.demo.stage import Given

STYLES = {network.name: network.style for network in NETWORKS}
HOST_WIDTH = 25


def draw(console: Console, outcome: Outcome, given: Sequence[Given]) -> None:
    """Everything, top down: where the virtual machines are, who reaches whom, and the verdict."""
    marks = Marks(console)
    console.print()
    console.print(hosts(outcome, given))
    console.print(pings(outcome, marks))
    console.print(talks(outcome, marks))
    console.print(change(outcome))
    console.print(verdict(outcome, marks))


class Marks:
    """Check marks and crosses, or words where the terminal cannot show them."""

    def __init__(self, console: Console) -> None:
        is_rich = "utf" in console.encoding.lower()
        self.yes, self.no, self.itself = ("✓", "✗", "·") if is_rich else ("yes", "no", "-")
        self.spinner = "dots" if is_rich else "line"

    def of(self, seen: Seen) -> Text:
        """How it went: green for reached, dim for refused, red for what differs from the expectation."""
        answered = [answer is not None for answer in seen.answers_ms]
        mark = self.yes if all(answered) else self.no if not any(answered) else f"{self.yes}{self.no}"
        if not seen.is_right:
            return Text(f"{mark} !", style="bold white on red")
        return Text(mark, style="bold green" if seen.is_expected else "dim")


def hosts(outcome: Outcome, given: Sequence[Given]) -> RenderableType:
    """A box for each host: its virtual machines, and what it was given."""
    panels = []
    for host in given:
        actors = [actor for actor in outcome.actors.values() if actor.plan.host == host.host]
        lines = [line for actor in actors for line in _actor_lines(actor)]
        lines.append(Text(f"{host.rows} rows, {host.flows} flows", style="italic"))
        title = f"[bold]{host.host}[/]  {host.tunnel_ip}"
        panels.append(Panel(Group(*lines), title=title, width=HOST_WIDTH, padding=(0, 1)))
    return Columns(panels, padding=(0, 1))


def pings(outcome: Outcome, marks: Marks) -> RenderableType:
    """The matrix of pings: a row pings the columns, over IPv4 and IPv6."""
    is_right = all(seen.is_right for seen in outcome.pings.values())
    caption = None if is_right else "! = not as expected; two marks: IPv4 and IPv6 differ"
    table = Table(
        title="Who pings whom (IPv4 and IPv6)", caption=caption, title_justify="left", padding=(0, 1)
    )
    table.add_column("from \\ to")
    for target in VMS:
        table.add_column(Text(target.name, style=STYLES[target.network]), justify="center")
    for source in VMS:
        cells = [
            marks.of(outcome.pings[source.name, target.name])
            if source != target
            else Text(marks.itself, style="dim")
            for target in VMS
        ]
        table.add_row(Text(source.name, style=STYLES[source.network]), *cells)
    return table


def talks(outcome: Outcome, marks: Marks) -> RenderableType:
    """The conversations: who spoke to whom, what was expected and why, what came."""
    table = Table(title="Who talks to whom", title_justify="left", padding=(0, 1))
    for heading in ("from", "to", "on", "seen", "expected, because"):
        table.add_column(heading)
    for talk, seen in outcome.talks.items():
        may = "may" if talk.is_expected else "must not"
        on = f"{talk.protocol} {talk.port}"
        table.add_row(talk.source, talk.target, on, marks.of(seen), f"{may}: {talk.why}")
    return table


def change(outcome: Outcome) -> RenderableType:
    """How soon packets felt a change of groups."""
    left, back = (
        "never" if felt_ms is None else f"after {felt_ms:.0f} ms"
        for felt_ms in (outcome.left_ms, outcome.back_ms)
    )
    return Text(f"web-1 left group web: db was silent to it {left}; it came back: db answered {back}")


def verdict(outcome: Outcome, marks: Marks) -> RenderableType:
    """How much was as expected, and how long ports took."""
    wrong = sum(not seen.is_right for seen in outcome.tried)
    times = sorted(actor.active_ms for actor in outcome.actors.values() if actor.active_ms is not None)
    middle = (
        f"; a port took {times[len(times) // 2]:.0f} ms from its binding to ACTIVE (median)" if times else ""
    )
    if wrong:
        return Text(
            f"{marks.no} {wrong} of {len(outcome.tried)} differ from what is expected{middle}",
            style="bold red",
        )
    return Text(f"{marks.yes} all {len(outcome.tried)} as expected{middle}", style="bold green")


def _actor_lines(actor: Actor) -> list[Text]:
    took = "never ACTIVE" if actor.active_ms is None else f"ACTIVE in {actor.active_ms:.0f} ms"
    style = "bold red" if actor.active_ms is None else "green"
    name = Text.assemble(
        (actor.plan.name, f"bold {STYLES[actor.plan.network]}"), f"  group {actor.plan.group}"
    )
    return [name, *(Text(f"  {ip}") for ip in actor.ips), Text(f"  {took}", style=style)]
