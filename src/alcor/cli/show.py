# SPDX-License-Identifier: Apache-2.0
"""`alcor show`: what is wanted of hosts, what they have applied, and what differs; asked of a running push."""

import argparse
import sys
from contextlib import suppress

import msgspec
from rich.console import Console
from rich.table import Table

from alcor.base.config import Settings
from alcor.push.ask import NotAnswered, ask
from alcor.push.show import HostShown, RowShown, Shown

_ASKED = {"hosts": "hosts", "host": "host", "port": "row", "scope": "scope"}


async def run(options: argparse.Namespace, settings: Settings) -> int:
    """Prints the answer, as a drawing or with --json; 1 if there is none, the reason said in one line."""
    if options.what != "hosts" and not options.name:
        print(f"alcor: say which {options.what}: alcor show {options.what} NAME", file=sys.stderr)
        return 2
    try:
        shown = await ask(settings, _ASKED[options.what], options.name or "")
    except (NotAnswered, OSError) as wrong:
        print(f"alcor: {wrong}", file=sys.stderr)
        return 1
    if shown is None:
        print(f"alcor: push knows no {options.what} {options.name}.", file=sys.stderr)
        return 1
    with suppress(BrokenPipeError):  # whoever reads has seen enough
        if options.json:
            print(msgspec.json.format(msgspec.json.encode(shown)).decode(), flush=True)
        else:
            _draw(shown, Console())
    return 0


def _draw(shown: Shown, console: Console) -> None:
    console.print(f"Goal state at revision {shown.revision}.")
    if shown.hosts:
        console.print(_hosts(shown.hosts))
    for host in shown.hosts:
        for failure in host.failures:
            console.print(f"[red]{host.host}: {failure}[/]")
    if shown.rows:
        console.print(_rows(shown.rows))


def _hosts(hosts: list[HostShown]) -> Table:
    table = Table("host", "session", "own rows", "scopes", "told to", "switch is at", "waiting", "failures")
    for host in hosts:
        table.add_row(
            host.host,
            "open" if host.is_connected else "[red]none[/]",
            str(host.own_rows),
            str(len(host.scopes)),
            _revision(host.told),
            _revision(host.acked),
            f"{host.waiting_rows} rows, {host.waiting_bytes} bytes" if host.waiting_rows else "",
            str(len(host.failures)) if host.failures else "",
        )
    return table


def _revision(revision: int | None) -> str:
    return "-" if revision is None else str(revision)


def _rows(rows: list[RowShown]) -> Table:
    table = Table("where", "row", show_lines=True)
    for row in rows:
        body = " ".join(f"{name}={value}" for name, value in row.row.items() if name != "kind")
        where = f"{row.scope}\n{row.key}\n[dim]for {', '.join(row.hosts) or 'nobody'}[/]"
        table.add_row(where, body)
    return table
