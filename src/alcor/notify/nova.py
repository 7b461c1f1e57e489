# SPDX-License-Identifier: Apache-2.0
"""Nova's `POST /os-server-external-events` (Compute API reference), with a token and an endpoint of Keystone's."""

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

    async def tell(self, notices: Sequence[Notice]) -> None:
        """Raises NotTold, Refused. Servers that Nova does not know, or that are on no host, need not be told."""
        try:
            if self._settings.keystone_url and not self._token:
                await self._log_in()
            answer = await self._http.post(
                f"{self._url}/os-server-external-events",
                json={"events": [_event(notice) for notice in notices]},
                headers={"X-Auth-Token": self._token} if self._token else {},
            )
        except (httpx.HTTPError, httpx.InvalidURL) as wrong:
            raise NotTold(f"Nova is out of reach: {str(wrong) or type(wrong).__name__}") from None
        # 404: none of the servers is known; within a 207 each event has a code of its own, 404 or 422 for such.
        status = answer.status_code
        if status in (200, 207, 404):
            return
        if status in (401, 403):
            self._token = ""
        if status in (400, 413, 422):
            raise Refused(f"Nova answered {status}: {answer.text[:200]}")
        raise NotTold(f"Nova answered {status}")

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
        answer = await self._keystone.post(
            f"{root}/v3/auth/tokens", json={"auth": {"identity": identity, "scope": {"project": project}}}
        )
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
