# SPDX-License-Identifier: Apache-2.0
"""The public door of a control plane: REST requests as tests write them."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec

from alcor.api.app import App
from alcor.api.auth import NoAuth
from alcor.api.parts import Parts
from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.features.agent.rules import on_hello
from alcor.features.control import REST, SCHEMA
from alcor.features.port.model import PORT
from alcor.goal.declare import HelloFacts
from alcor.resource.context import World
from alcor.resource.engine import Engine
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Outside, Store


class Door:
    """Asks the API, and fails the test where the answer is not the one that was to come."""

    def __init__(self, store: Store, client: httpx.AsyncClient, engine: Engine) -> None:
        self.store = store
        self._client = client
        self._paths = {noun.resource.name: path for path, noun in engine.nouns.items()}
        self._plurals = {path: noun.resource.plural for path, noun in engine.nouns.items()}
        self._plural_of = {noun.resource.name: noun.resource.plural for noun in engine.nouns.values()}

    async def ask(
        self,
        method: str,
        url: str,
        body: Any = None,
        *,
        as_project: str = "",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The status and the JSON of one request."""
        caller = {"X-Project-Id": as_project, "X-Roles": "member"} if as_project else {}
        answer = await self._client.request(method, url, json=body, headers=caller | (headers or {}))
        return answer.status_code, answer.json() if answer.content else None

    async def create(self, noun: str, *, as_project: str = "", **given: Any) -> dict[str, Any]:
        status, answer = await self.ask(
            "POST", f"/v2.0/{self._paths[noun]}", {noun: given}, as_project=as_project
        )
        assert status == 201, answer
        return answer[noun]

    async def create_many(self, noun: str, given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        plural = self._plural_of[noun]
        status, answer = await self.ask("POST", f"/v2.0/{self._paths[noun]}", {plural: list(given)})
        assert status == 201, answer
        return answer[plural]

    async def show(self, noun: str, id: str) -> dict[str, Any]:
        status, answer = await self.ask("GET", f"/v2.0/{self._paths[noun]}/{id}")
        assert status == 200, answer
        return answer[noun]

    async def list(self, path: str, *, as_project: str = "", **filters: str) -> list[dict[str, Any]]:
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        status, answer = await self.ask("GET", f"/v2.0/{path}?{query}", as_project=as_project)
        assert status == 200, answer
        return answer[self._plurals[path]]

    async def update(self, noun: str, id: str, **given: Any) -> dict[str, Any]:
        status, answer = await self.ask("PUT", f"/v2.0/{self._paths[noun]}/{id}", {noun: given})
        assert status == 200, answer
        return answer[noun]

    async def delete(self, noun: str, id: str) -> None:
        status, answer = await self.ask("DELETE", f"/v2.0/{self._paths[noun]}/{id}")
        assert status == 204, answer

    async def refused(
        self,
        method: str,
        url: str,
        body: Any,
        status: int,
        *,
        as_project: str = "",
        headers: dict[str, str] | None = None,
    ) -> dict[str, str]:
        """The NeutronError of a request that must end in `status`."""
        seen, answer = await self.ask(method, url, body, as_project=as_project, headers=headers)
        assert seen == status, answer
        error = answer["NeutronError"]
        assert set(error) == {"type", "message", "detail"}
        return error

    async def register_host(
        self,
        host: str,
        tunnel_ip: str = "10.99.0.1",
        mappings: dict[str, str] | None = None,
        zone: str = "",
    ) -> None:
        """As the host's hello does."""
        facts = HelloFacts(
            tunnel_ip=tunnel_ip,
            version="1",
            bridge="br-int",
            now="2026-11-22T09:00:00Z",
            bridge_mappings=mappings or {},
            availability_zone=zone,
        )
        await self.store.submit(lambda txn: on_hello(txn, host, facts))

    def generation(self, port_id: str) -> int:
        """Of the port's present binding."""
        return self.store.tables.get(PORT, port_id).generation


@asynccontextmanager
async def open_door(directory: Path, **settings: Any) -> AsyncIterator[Door]:
    """A control plane on a log in `directory`, with settings of its own."""
    random = Random(1)
    clock = SystemClock()
    store = await Store.open(SCHEMA, SqliteLog(directory / "log.db"), Outside(clock, random))
    world = World(
        settings=msgspec.structs.replace(Settings(), **settings), clock=clock, entropy=random.randbytes
    )
    engine = Engine(REST, world.settings)
    app = App(Parts(engine=engine, store=store, auth=NoAuth(), world=world))
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://alcor")
    try:
        async with client:
            yield Door(store, client, engine)
    finally:
        await store.close()
