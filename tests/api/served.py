# SPDX-License-Identifier: Apache-2.0
"""The product's API on a real socket, in a thread of its own, for clients that block."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from alcor.api.serve import Server
from alcor.base.address import Address
from alcor.base.config import Settings
from alcor.features.agent.rules import on_hello
from alcor.goal.declare import HelloFacts
from tests.api.world import NO_QUOTA, Api, running


class Served:
    """A running server: where it is, and a way to run something in its loop."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.url = ""
        self.port = 0
        self.api: Api | None = None
        self._loop = uvloop.new_event_loop()
        self._up = threading.Event()
        self._stop: asyncio.Event | None = None
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(folder, settings), daemon=True)

    def __enter__(self) -> "Served":
        self._thread.start()
        assert self._up.wait(30)
        if self._failed:
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._failed:
            raise self._failed

    def register_host(self, host: str) -> None:
        """Says hello for the agent of a host."""
        assert self.api is not None
        facts = HelloFacts(tunnel_ip="192.0.2.7", bridge="br-int", version="1", now="2026-11-22T10:00:00Z")
        said = self.api.store.submit(lambda txn: on_hello(txn, host, facts))
        asyncio.run_coroutine_threadsafe(said, self._loop).result(10)

    def _run(self, folder: Path, settings: Settings) -> None:
        try:
            self._loop.run_until_complete(self._serve(folder, settings))
        except Exception as failed:  # noqa: BLE001  # raised again in the test's thread
            self._failed = failed
        finally:
            self._loop.close()
            self._up.set()

    async def _serve(self, folder: Path, settings: Settings) -> None:
        self._stop = asyncio.Event()
        async with running(folder, settings) as api:
            self.api = api
            await self._listen(api, self._stop)

    async def _listen(self, api: Api, stop: asyncio.Event) -> None:
        server = Server(api.app, Address("127.0.0.1:0"))
        await server.start()
        self.port = server.port
        self.url = f"http://127.0.0.1:{server.port}"
        self._up.set()
        await stop.wait()
        await server.stop()


@contextmanager
def served(folder: Path, **settings: object) -> Iterator[Served]:
    """The product's API on a free port of loopback."""
    with Served(folder, Settings(**{**NO_QUOTA, **settings})) as server:
        yield server
