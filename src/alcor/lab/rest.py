# SPDX-License-Identifier: Apache-2.0
"""The public REST API as its users see it: create, show, list, update and delete of any noun, over any HTTP client."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import httpx

from alcor.lab.errors import LabFailure

Body = dict[str, Any]
ACTIVE_S_MAX = 15.0  # how long a port may take before it is said to stay down
_POLL_S = 0.001


class Rest:
    """A client of one API. What is refused raises LabFailure with the API's own words."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def create(self, noun: str, fields: Mapping[str, object]) -> Body:
        """POST one `noun` (such as `security_group_rule`); the object made."""
        answer = await self._answer("POST", _path(noun), json={noun: dict(fields)})
        return dict(answer[noun])

    async def show(self, noun: str, id: str, *only: str) -> Body:
        """GET one object, all fields or `only` some."""
        answer = await self._answer("GET", f"{_path(noun)}/{id}", params={"fields": list(only)})
        return dict(answer[noun])

    async def find(self, noun: str, **filters: str) -> list[Body]:
        """GET the objects that fit the filters."""
        answer = await self._answer("GET", _path(noun), params=filters)
        return list(answer[f"{noun}s"])

    async def update(self, noun: str, id: str, fields: Mapping[str, object]) -> Body:
        """PUT fields of one object; the object as it is then."""
        answer = await self._answer("PUT", f"{_path(noun)}/{id}", json={noun: dict(fields)})
        return dict(answer[noun])

    async def delete(self, noun: str, id: str) -> None:
        """DELETE one object."""
        await self._answer("DELETE", f"{_path(noun)}/{id}")

    async def until_active(self, port_id: str, within_s: float = ACTIVE_S_MAX) -> bool:
        """Whether GET says that a port is ACTIVE, within `within_s` from now; returns as soon as it does."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if (await self.show("port", port_id, "status"))["status"] == "ACTIVE":
                return True
            await asyncio.sleep(_POLL_S)
        return False

    async def _answer(self, verb: str, path: str, **parts: Any) -> Body:
        try:
            answer = await self.client.request(verb, f"/v2.0/{path}", **parts)
        except httpx.TransportError as error:
            raise LabFailure(
                f"{verb} {path}: the API cannot be reached ({type(error).__name__} {error})"
            ) from error
        if answer.is_error:
            raise LabFailure(f"{verb} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else {}


def _path(noun: str) -> str:
    return f"{noun}s".replace("_", "-")
