# SPDX-License-Identifier: Apache-2.0
"""`alcor all`, `alcor api`, `alcor push`: the control plane's roles over one log, until they are told to stop."""

import asyncio
import gc
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from alcor.api.app import App
from alcor.api.auth import Auth, NoAuth
from alcor.api.keystone import Access, KeystoneAuth
from alcor.api.parts import Parts
from alcor.api.serve import Server
from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.errors import Unavailable
from alcor.base.telemetry import Meters, log_error, metrics_served
from alcor.features.control import GOAL, REST, SCHEMA
from alcor.notify.nova import Nova
from alcor.notify.service import Notifier
from alcor.push import server as push_server
from alcor.resource.context import World
from alcor.resource.engine import Engine
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Outside, Store

# The tables grow by objects that stay and form no cycles: looking through them at Python's usual rate finds nothing.
GC_THRESHOLDS = (100_000, 50, 1_000)
# The thread that writes the log needs the interpreter for microseconds at a time, several times in a turn. At Python's
# usual 5 ms it waits that long each time while a list is read: turns are then ten times slower.
SWITCH_S = 0.0005
LOG_FILE = "alcor.db"  # in the state folder


@dataclass(frozen=True)
class Running:
    """What runs, for those who started it in their own process."""

    store: Store
    server: Server | None
    push: push_server.Handle | None
    notifier: asyncio.Task[None] | None = None

    async def ended(self) -> None:
        """Returns when a part has ended by itself; raises what broke it."""
        parts = [self.store.stopped(), *([self.push.stopped()] if self.push else [])]
        tasks = [asyncio.ensure_future(part) for part in parts]
        tasks += [self.notifier] if self.notifier else []
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()


async def run(settings: Settings, *, api: bool, push: bool) -> int:
    """Serves until cancelled. The exit status: 1 if it could not start, the reason logged in one line."""
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        async with running(settings, api=api, push=push) as process:
            await process.ended()
    except (Unavailable, OSError, ValueError) as wrong:
        log_error("cannot serve", why=str(wrong))
        return 1
    return 0


@asynccontextmanager
async def running(settings: Settings, *, api: bool, push: bool) -> AsyncIterator[Running]:
    """The roles over the log of `settings.state`. Raises Unavailable, OSError or SettingError if they cannot start."""
    meters, clock = Meters(with_process=True), SystemClock()
    async with AsyncExitStack() as stack:
        if not api:
            stack.enter_context(metrics_served(meters, settings.metrics_listen))
        outside = Outside(clock=clock, random=random.SystemRandom(), settings=settings, meters=meters)
        is_told = api and push and bool(settings.nova_url)
        store = await Store.open(SCHEMA, SqliteLog(settings.state / LOG_FILE), outside)
        stack.push_async_callback(store.close)
        sys.setswitchinterval(SWITCH_S)

        handle = await push_server.serve(store, GOAL, settings, meters) if push else None
        if handle:
            stack.push_async_callback(handle.close)

        notifier = await stack.enter_async_context(notifying(store, outside)) if is_told else None
        server = None
        if api:
            world = World(settings=settings, clock=clock)
            auth = _auth(settings, stack, meters)
            engine = Engine(REST, settings)
            if settings.policy_file is not None:
                engine.policy.use(settings.policy_file)
            app = App(Parts(engine=engine, store=store, auth=auth, world=world, meters=meters))
            server = Server(app, settings.listen, insecure_listen=settings.insecure_listen)
            try:
                await server.start()
            except OSError as wrong:
                told = f"the API cannot listen on {settings.listen}: {wrong.strerror or wrong}"
                raise OSError(f"{told}; choose another address by listen (--listen)") from wrong
            stack.push_async_callback(server.stop)
        yield Running(store, server, handle, notifier)


@asynccontextmanager
async def notifying(store: Store, outside: Outside) -> AsyncIterator[asyncio.Task[None]]:
    """Tells Nova what the log says, until the end of the block. Raises OSError where a file cannot be read."""
    source = SqliteLog(outside.settings.state / LOG_FILE)
    nova = Nova(outside.settings)
    task = asyncio.create_task(Notifier((store, source), REST, nova, outside).run(), name="notify")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))
        await nova.close()
        await source.close()


def _auth(settings: Settings, stack: AsyncExitStack, meters: Meters) -> Auth:
    """Who is asked who a caller is. Raises OSError where a file cannot be read."""
    if settings.auth == "none":
        return NoAuth()
    keystone = KeystoneAuth(Access.of(settings), SystemClock(), meters)
    stack.push_async_callback(keystone.close)
    return keystone
