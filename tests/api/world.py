# SPDX-License-Identifier: Apache-2.0
"""An API over a store on a temporary log, and a client that speaks to it in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx

from alcor.api.app import App
from alcor.api.auth import Auth, NoAuth
from alcor.api.parts import Parts
from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.features import control
from alcor.resource.context import World
from alcor.resource.declare import RestFeature
from alcor.resource.engine import Engine
from alcor.store.declare import Schema
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Outside, Store

NO_QUOTA = {
    f"quota_{noun}": -1 for noun in ("network", "subnet", "port", "security_group", "security_group_rule")
}


class Api:
    """A client of one running application."""

    def __init__(self, app: App, store: Store) -> None:
        self.app = app
        self.store = store
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url="http://api.test"
        )

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """One request under /v2.0, as `project` with `roles` where these are given."""
        headers = dict(more.pop("headers", {}))
        for name, header in (("project", "X-Project-Id"), ("roles", "X-Roles")):
            if value := more.pop(name, None):
                headers[header] = value
        if body is not None:
            more["json"] = body
        return await self.http.request(method, "/v2.0/" + path, headers=headers, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.call("GET", path, **more)

    async def make(self, noun: str, **fields: Any) -> dict[str, Any]:
        """Creates an object and answers it."""
        asker = {name: fields.pop(name) for name in ("project", "roles") if name in fields}
        answer = await self.call("POST", noun.replace("_", "-") + "s", {noun: fields}, **asker)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()[noun]
        return made

    async def refusal(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str, str]:
        """Status, type and message of a request that is refused, in Neutron's form."""
        return error_of(await self.call(method, path, body, **more))

    async def names(self, path: str, **more: Any) -> list[str]:
        """The names in a list, in its order."""
        answer = await self.get(path, **more)
        assert answer.status_code == 200, answer.text
        (listed,) = (value for key, value in answer.json().items() if not key.endswith("_links"))
        return [each["name"] for each in listed]


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, type and message of a refusal; asserts Neutron's form."""
    body = answer.json()
    assert set(body) == {"NeutronError"}, body
    assert set(body["NeutronError"]) == {"type", "message", "detail"}
    return answer.status_code, body["NeutronError"]["type"], body["NeutronError"]["message"]


@asynccontextmanager
async def running(
    folder: Path,
    settings: Settings,
    *,
    features: tuple[RestFeature, ...] = control.REST,
    schema: Schema = control.SCHEMA,
    auth: Auth | None = None,
) -> AsyncIterator[Api]:
    """The API of these features, stopped at the end."""
    outside = Outside(SystemClock(), Random(1), settings)
    store = await Store.open(schema, SqliteLog(folder / "log.sqlite"), outside)
    parts = Parts(Engine(features), store, auth or NoAuth(), World(settings), outside.meters)
    api = Api(App(parts), store)
    try:
        yield api
    finally:
        await api.http.aclose()
        await store.close()
