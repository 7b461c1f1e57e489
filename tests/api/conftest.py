# SPDX-License-Identifier: Apache-2.0
"""The product's API over a store on a temporary log, and a client that speaks to it in this process."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from alcor.api.app import App
from alcor.api.auth import NoAuth
from alcor.api.parts import Parts
from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.features import control
from alcor.resource.context import World
from alcor.resource.engine import Engine
from alcor.store.log.sqlite import SqliteLog
from alcor.store.store import Store

ROOMY = {
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
        headers = dict(more.pop("headers", {}))
        for name in ("project", "roles"):
            if value := more.pop(name, None):
                headers[{"project": "X-Project-Id", "roles": "X-Roles"}[name]] = value
        if body is not None:
            more["json"] = body
        return await self.http.request(method, "/v2.0/" + path, headers=headers, **more)

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.call("GET", path, **more)

    async def make(self, noun: str, path: str = "", **fields: Any) -> dict[str, Any]:
        """Creates an object and answers it."""
        asker = {name: fields.pop(name) for name in ("project", "roles") if name in fields}
        plural = path or noun.replace("_", "-") + "s"
        answer = await self.call("POST", plural, {noun: fields}, **asker)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()[noun]
        return made


Start = Callable[..., Any]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts the product's API with settings; stopped at the end of the test."""
    async with AsyncExitStack() as stack:

        async def started(**settings: Any) -> Api:
            store = await Store.open(
                control.SCHEMA, SqliteLog(tmp_path / "log.sqlite"), SystemClock(), random.Random(1)
            )
            stack.push_async_callback(store.close)
            world = World(Settings(**{**ROOMY, **settings}))
            api = Api(App(Parts(Engine(control.REST), store, NoAuth(), world)), store)
            stack.push_async_callback(api.http.aclose)
            return api

        yield started


@pytest.fixture
async def api(start: Start) -> Api:
    made: Api = await start()
    return made


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, type and message of a refusal; asserts Neutron's form."""
    body = answer.json()
    assert set(body) == {"NeutronError"}
    assert set(body["NeutronError"]) == {"type", "message", "detail"}
    return answer.status_code, body["NeutronError"]["type"], body["NeutronError"]["message"]


@pytest.fixture
def error() -> Callable[[httpx.Response], tuple[int, str, str]]:
    return error_of
