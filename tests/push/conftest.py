# SPDX-License-Identifier: Apache-2.0
"""A real store on a log in a file, push beside it, and agents that connect to it over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from alcor.agent.dial import Keepalive, dial
from alcor.agent.rows import Changed, HostRows
from alcor.agent.session import Backoff, HostIdentity, Report, Session, run
from alcor.base.address import Address
from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.wire.stream import Stream
from alcor.goal.declare import GoalFeature, HelloFacts, Observer
from alcor.goal.declare import Report as GoalReport
from alcor.push.server import Handle, serve
from alcor.store.log.sqlite import SqliteLog
from alcor.store.reader import Txn
from alcor.store.store import Outside, Store
from tests.goal import toy
from tests.goal.histories import Turn

PROMPT = Settings(status_batch_ms=1, silence_grace_s=0.05, reconnect_ms_min=1, reconnect_ms_max=20)


@dataclass
class Heard:
    """What observers were told."""

    hellos: list[tuple[str, HelloFacts]] = field(default_factory=list)
    reports: list[tuple[str, GoalReport]] = field(default_factory=list)
    liveness: list[tuple[str, bool]] = field(default_factory=list)

    def feature(self) -> GoalFeature:
        """The feature that listens."""
        return GoalFeature(
            name="listening",
            observers=(
                Observer(
                    on_hello=lambda txn, host, facts: self.hellos.append((host, facts)),
                    on_reports=self._on_reports,
                    on_life=lambda txn, life: self.liveness.append((life.host, life.is_alive)),
                ),
            ),
        )

    def _on_reports(self, txn: Txn, host: str, reports: Sequence[GoalReport]) -> None:
        self.reports += [(host, report) for report in reports]


@dataclass
class Agent:
    """An agent that acknowledges at once and reports each of its own rows as realised."""

    session: Session
    task: asyncio.Task[None]

    @property
    def rows(self) -> HostRows:
        return self.session.rows


class Cloud:
    """Store, push and agents."""

    def __init__(self, store: Store, push: Handle, heard: Heard) -> None:
        self.store = store
        self.push = push
        self.heard = heard
        self.agents: dict[str, Agent] = {}

    async def write(self, turn: Turn) -> None:
        """Commits writes in one request."""

        def request(txn: Txn) -> None:
            for table, key, new in turn:
                if new is None:
                    txn.delete(table, key)
                elif txn.peek(table, key) is None:
                    txn.insert(table, new)
                else:
                    txn.update(table, new)

        await self.store.submit(request)

    def start_agent(self, host: str, connect: Callable[[], Awaitable[Stream]] | None = None) -> Agent:
        """An agent that keeps a stream open."""
        session = Session(HostIdentity(host, "10.0.0.1", "1", "br-int"), HostRows(toy.KINDS))

        def acknowledge(changed: Changed) -> None:
            if session.rows.position is not None:
                own = session.rows.scopes.get(f"host:{host}", {})
                session.ack(session.rows.position, [Report(key, 1, is_realised=True) for key in own], [])

        backoff = Backoff(1, 20, Random(host))
        agent = Agent(session, asyncio.create_task(run(session, connect or self.dial, acknowledge, backoff)))
        self.agents[host] = agent
        return agent

    async def stop_agent(self, host: str) -> None:
        """Ends an agent and its stream."""
        agent = self.agents.pop(host)
        agent.task.cancel()
        await asyncio.gather(agent.task, return_exceptions=True)

    async def dial(self) -> Stream:
        """A stream over the socket."""
        return await dial(Address(self.push.address), None, Keepalive())

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Waits until something is so."""
        async with asyncio.timeout(60):
            while not is_so():  # the product has no event for every fact
                await asyncio.sleep(0.005)

    def is_settled(self, agent: Agent) -> bool:
        """Whether the agent holds what push says it needs, and push knows it."""
        goal = self.push.service.publisher.goal
        host = agent.session.identity.host
        at_push = self.push.service.publisher.session(host)
        needed = goal.interest.scopes(host)
        return (
            at_push is not None
            and agent.rows.is_whole
            and at_push.told == at_push.acked
            and agent.rows.complete == set(needed)
            and all(agent.rows.scopes[scope].keys() == goal.compiler.rows(scope).keys() for scope in needed)
        )


@asynccontextmanager
async def cloud_of(
    folder: Path, settings: Settings = PROMPT, heard: Heard | None = None
) -> AsyncIterator[Cloud]:
    """A cloud of the made-up product with its log in `folder`."""
    heard = heard or Heard()
    outside = Outside(SystemClock(), Random(1), settings)
    store = await Store.open(toy.SCHEMA, SqliteLog(folder / "log"), outside)
    push = await serve(store, (*toy.GOAL, heard.feature()), settings)
    cloud = Cloud(store, push, heard)
    try:
        yield cloud
    finally:
        for host in list(cloud.agents):
            await cloud.stop_agent(host)
        await push.close()
        await store.close()


def on_socket(folder: Path) -> Settings:
    """Settings with push on a socket in `folder`."""
    return Settings(**{**_fields(PROMPT), "push_listen": Address(f"unix:{folder}/push")})


def _fields(settings: Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


@pytest.fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    async with cloud_of(tmp_path, on_socket(tmp_path)) as cloud:
        yield cloud
