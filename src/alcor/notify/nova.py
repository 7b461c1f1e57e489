# SPDX-License-Identifier: Apache-2.0
"""Nova's `POST /os-server-external-events` (Compute API reference), with a token and an endpoint of Keystone's."""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

import httpx

from alcor.base.config import Settings
from alcor.resource.declare import Notice

CATALOGUE = "catalogue"  # as nova_url: the endpoint is Keystone's to say


class NotTold(Exception):
    """Nova took nothing; to be tried again."""


class Refused(Exception):
    """Nova will never take these."""


class Nova:
    """One Nova. Raises OSError where the file of the password or of an authority cannot be read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        file = settings.keystone_password_file
        self._password = file.read_text(encoding="utf-8").rstrip("\n") if file else settings.keystone_password
        self._token = ""
        self._url = "" if settings.nova_url == CATALOGUE else settings.nova_url.rstrip("/")
        self._http = _client(settings, str(settings.nova_ca_file or ""))
        self._keystone = _client(settings, str(settings.keystone_ca_file or ""))

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()
        await self._keystone.aclose()

    async def tell(self, notices: Sequence[Notice]) -> int:
        """How many were for servers that Nova does not know, or that are on no host: they need not be told.

        Raises NotTold, Refused.
        """
        if self._settings.keystone_url and not self._token:
            await self._log_in()
        asked = {"events": [_event(notice) for notice in notices]}
        answer = await self._answer(self._http, f"{self._url}/os-server-external-events", asked)
        status = answer.status_code
        if status == 404 and "itemNotFound" in answer.text:
            return len(notices)
        if status in (200, 207):
            return _not_taken(answer)
        if status in (401, 403):
            self._token = ""
        if status in (400, 413, 422):
            raise Refused(f"Nova answered {status}: {answer.text[:200]}")
        is_elsewhere = ": is that its endpoint, with its version?" if status == 404 else ""
        raise NotTold(f"Nova answered {status} at {self._url}{is_elsewhere}")

    async def _answer(self, client: httpx.AsyncClient, url: str, body: object) -> httpx.Response:
        who, limit_s = "Nova" if client is self._http else "Keystone", self._settings.nova_timeout_s
        headers = (
            {"X-Auth-Token": self._token} if self._token else {}
        )  # there is none yet where Keystone is asked
        try:
            async with asyncio.timeout(limit_s):  # of the whole answer: httpx has limits of its parts alone
                return await client.post(url, json=body, headers=headers)
        except (TimeoutError, httpx.TimeoutException):
            raise NotTold(f"{who} did not answer within {limit_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as wrong:
            raise NotTold(f"{who} is out of reach: {str(wrong) or type(wrong).__name__}") from None

    async def _log_in(self) -> None:
        settings = self._settings
        user = {
            "name": settings.keystone_user,
            "domain": {"name": settings.keystone_user_domain},
            "password": self._password,
        }
        project = {
            "name": settings.keystone_project,
            "domain": {"name": settings.keystone_project_domain},
        }
        identity = {"methods": ["password"], "password": {"user": user}}
        root = settings.keystone_url.rstrip("/").removesuffix("/v3")
        asked = {"auth": {"identity": identity, "scope": {"project": project}}}
        answer = await self._answer(self._keystone, f"{root}/v3/auth/tokens", asked)
        if answer.status_code != 201:
            raise NotTold(f"Keystone answered {answer.status_code} to the login of {settings.keystone_user}")
        if settings.nova_url == CATALOGUE:
            try:
                self._url = _endpoint(answer.json(), settings.nova_region)
            except (ValueError, KeyError, TypeError, AttributeError) as wrong:
                raise NotTold(f"Keystone's answer to the login is not understood: {wrong!r}") from None
        self._token = answer.headers.get("x-subject-token", "")


def _client(settings: Settings, ca_file: str) -> httpx.AsyncClient:
    verify = ssl.create_default_context(cafile=ca_file) if ca_file else True
    return httpx.AsyncClient(verify=verify, timeout=settings.nova_timeout_s, trust_env=False)


def _endpoint(answer: Any, region: str) -> str:
    """Raises NotTold where the catalogue has no such endpoint."""
    for service in answer["token"].get("catalog", ()):
        for endpoint in service["endpoints"] if service["type"] == "compute" else ():
            if endpoint["interface"] == "public" and region in ("", endpoint.get("region_id")):
                return str(endpoint["url"]).rstrip("/")
    raise NotTold(f"Keystone's catalogue has no public endpoint of type compute in region '{region}'")


def _event(notice: Notice) -> dict[str, str]:
    event = {"server_uuid": notice.server, "name": notice.name, "tag": notice.tag}
    return event | ({"status": notice.status} if notice.status else {})


def _not_taken(answer: httpx.Response) -> int:
    """How many events of an answer have another code than 200; 0 where it says nothing of them."""
    try:
        return sum(event.get("code", 200) != 200 for event in answer.json()["events"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0
