# SPDX-License-Identifier: Apache-2.0
"""The demo from curtain to curtain: which stage, what is shown while one waits, what is left to play with."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from alcor.base.telemetry import configure_log
from alcor.cli.demo import drawing, play
from alcor.cli.demo.scene import HOSTS, VMS
from alcor.cli.demo.stage import FakeStage, RealStage, Stage
from alcor.lab import LabFailure
from alcor.lab.cloud import Cloud
from alcor.testing.world import World


async def run(keep: bool, fake: bool) -> int:
    """Play the demo. 0: everything was as expected; 1: something differs, or the stage could not be built.

    With `keep` it stays up until it is cancelled, which Ctrl-C and SIGTERM do.
    """
    console = Console()
    if not fake and os.geteuid() != 0:
        console.print(
            "Real switches need root; this is the same story on the built-in fake switch.", style="yellow"
        )
        fake = True
    try:
        outcome = await (
            _play_on_fake_switches(console, keep) if fake else _play_on_real_switches(console, keep)
        )
    except LabFailure as failure:
        console.print(Text(str(failure), style="bold red"))
        console.print("`alcor demo --fake` tells the same story without real switches.")
        return 1
    return 0 if all(seen.is_right for seen in outcome.tried) else 1


async def _play_on_fake_switches(console: Console, keep: bool) -> play.Outcome:
    configure_log("warning", "text")  # All of Alcor is in this process, and would tell of each step.
    async with World() as world:
        stage = FakeStage(world)
        with _step(console, f"Starting the control plane and {len(HOSTS)} hosts with fake switches"):
            await stage.add_hosts(*HOSTS)
        outcome = await _act(console, stage)
    if keep:
        console.print("\nNothing is left to play with: the fake switches were part of this process.")
    return outcome


async def _play_on_real_switches(console: Console, keep: bool) -> play.Outcome:
    async with AsyncExitStack() as ending:
        with _step(console, "Starting the control plane"):
            cloud = await ending.enter_async_context(Cloud())
        with _step(console, f"Starting {len(HOSTS)} hosts: Open vSwitch and an agent each"):
            await cloud.add_hosts(*HOSTS)
        outcome = await _act(console, RealStage(cloud))
        if keep:
            await _stay(console, cloud)
    return outcome


async def _act(console: Console, stage: Stage) -> play.Outcome:
    outcome = play.Outcome()
    with _step(console, "Making two networks and two security groups through the REST API"):
        networks = await play.make_networks(stage)
        groups = await play.make_groups(stage)
    with _step(console, f"Making {len(VMS)} virtual machines: port, interface, binding, ACTIVE"):
        for plan in VMS:
            actor = await play.enter(stage, plan, networks[plan.network], groups[plan.group])
            outcome.actors[plan.name] = actor
    with _step(console, "Everybody pings everybody, over IPv4 and IPv6"):
        outcome.pings = await play.try_pings(outcome.actors)
    with _step(console, "Some talk TCP and UDP"):
        outcome.talks = await play.try_talks(outcome.actors)
    with _step(console, "One leaves its group, and joins it again"):
        outcome.left_ms, outcome.back_ms = await play.try_leaving(stage, outcome.actors, groups)
    drawing.draw(console, outcome, await stage.given())
    return outcome


async def _stay(console: Console, cloud: Cloud) -> None:
    """Say how to play with what is up, and wait; being cancelled ends it."""
    client = f"{_command('openstack')} --os-auth-type none --os-endpoint {cloud.url}"
    show = f"{_command('alcor')} show --push {cloud.push}"
    vm = cloud.hosts[0].vms[0]
    console.print("\n[bold]It stays up until Ctrl-C.[/] To play with it, in another terminal:")
    for line in (
        f"{client} network list",
        f"{client} port list --long",
        f"{client} security group rule list",
        f"{show} hosts",
        f"{show} port {vm.spec.port_id}",
        f"ip netns exec {vm.namespace.name} ping 10.1.0.11",
        f"ovs-ofctl -O OpenFlow14 dump-flows unix:{vm.host.bridge_mgmt}",
    ):
        console.print(f"  {line}", soft_wrap=True, highlight=False)
    await asyncio.Event().wait()


def _command(name: str) -> str:
    """How a command is called from here: by its name, or as it lies beside this Python where the name is not known."""
    beside_python = Path(sys.executable).with_name(name)
    return str(beside_python) if beside_python.exists() and not shutil.which(name) else name


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    """Show what is going on while it goes on, and leave a line that says how long it took."""
    start, marks = time.monotonic(), drawing.Marks(console)
    with console.status(what, spinner=marks.spinner):
        yield
    console.print(f"[green]{marks.yes}[/] {what} [dim]({time.monotonic() - start:.1f} s)[/]")
