# SPDX-License-Identifier: Apache-2.0
"""Who a caller is, as Keystone says of its token (Identity API v3, `GET /v3/auth/tokens`).

A token's answer is kept until the token expires or `token_cache_s` is over, whichever comes first: so long a revoked
token may still be taken. While Keystone is out of reach, tokens that are kept are served and others get 503.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import msgspec

from alcor.base import metrics
from alcor.base.clock import Clock
from alcor.base.config import Settings
from alcor.base.errors import Unauthorized, Unavailable
from alcor.base.telemetry import Meters, log_warning
from alcor.resource.context import Identity, Standing, identity

SERVICE_ROLE = "service"  # of a service whose word lets a user's token be used after its end
TOKEN_BYTES_MAX = 8_192
ATTEMPTS = 2  # of a request that Keystone did not answer
VALIDATIONS_MAX = 1_000  # tokens that are asked about at a time; beyond it 503
REFUSED_S = 10.0  # how long a token that Keystone does not know is refused without asking again
REFUSED_MAX = 10_000
OWN_TOKEN_SPARE_S = 60.0  # our own token is renewed so long before its end
_CONNECTIONS = 16

Validated = tuple[Identity, float]  # the caller, and when its token expires (seconds since the epoch)


class _Id(msgspec.Struct, frozen=True):
    id: str = ""


class _Named(msgspec.Struct, frozen=True):
    name: str


class _Owned(msgspec.Struct, frozen=True):
    id: str
    domain: _Id = _Id()


class _Token(msgspec.Struct, frozen=True):
    """What is read of Keystone's answer."""

    expires_at: str
    user: _Owned
    roles: tuple[_Named, ...] = ()
    project: _Owned | None = None
    domain: _Id | None = None
    system: dict[str, bool] | None = None
    is_admin_project: bool = True


class _Answer(msgspec.Struct, frozen=True):
    token: _Token


_decode = msgspec.json.Decoder(_Answer).decode


class _UnknownTokenError(Exception):
    """Keystone does not know the token."""


@dataclass(frozen=True)
class Access:
    """How Keystone is reached, and by whom it is asked."""

    url: str  # without /v3
    public_url: str  # where callers are sent for a token
    user: str
    user_domain: str
    password: str
    project: str
    project_domain: str
    ca_file: Path | None = None
    timeout_s: float = 5.0
    cache_s: float = 300.0
    cache_max: int = 50_000

    @classmethod
    def of(cls, settings: Settings) -> Access:
        """What the settings say. Raises OSError where the file of the password cannot be read."""
        file = settings.keystone_password_file
        password = settings.keystone_password
        if file is not None:
            password = file.read_text(encoding="utf-8").rstrip("\n")
        url = _root_of(settings.keystone_url)
        return cls(
            url=url,
            public_url=settings.keystone_public_url or url,
            user=settings.keystone_user,
            user_domain=settings.keystone_user_domain,
            password=password,
            project=settings.keystone_project,
            project_domain=settings.keystone_project_domain,
            ca_file=settings.keystone_ca_file,
            timeout_s=settings.keystone_timeout_s,
            cache_s=settings.token_cache_s,
            cache_max=settings.token_cache_max,
        )


class Kept:
    """Answers that are kept for a time, at most so many; the oldest go first. Keys are digests: no token lies here."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_key: dict[bytes, tuple[Any, float]] = {}

    def get(self, key: bytes, now_s: float) -> Any:
        """What is kept under the key, or None."""
        entry = self._by_key.get(key)
        if entry is None:
            return None
        if now_s < entry[1]:
            return entry[0]
        del self._by_key[key]
        return None

    def put(self, key: bytes, value: object, until_s: float) -> None:
        """Keeps it."""
        self._by_key.pop(key, None)
        while self._by_key and len(self._by_key) >= self._most:
            del self._by_key[next(iter(self._by_key))]
        if self._most > 0:
            self._by_key[key] = (value, until_s)

    def __len__(self) -> int:
        return len(self._by_key)


class KeystoneAuth:
    """Asks Keystone, once per token at a time however many requests bring it."""

    is_open = False

    def __init__(self, access: Access, clock: Clock, meters: Meters) -> None:
        self._access = access
        self._clock = clock
        self._meters = meters
        self._known = Kept(access.cache_max)
        self._refused = Kept(REFUSED_MAX)
        self._asking: dict[bytes, asyncio.Task[Validated | None]] = {}
        self._tokens_url = f"{access.url}/v3/auth/tokens"
        self._own_token = ""
        self._own_until_s = 0.0
        self._own_flight: asyncio.Task[str] | None = None
        self._http = httpx.AsyncClient(
            verify=ssl.create_default_context(cafile=access.ca_file) if access.ca_file else True,
            timeout=access.timeout_s,
            limits=httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
            trust_env=False,
        )
        self.challenge = f'Keystone uri="{access.public_url}"'.encode()

    async def close(self) -> None:
        """Ends what is under way and closes the connections."""
        tasks = [*self._asking.values(), *([self._own_flight] if self._own_flight else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()

    async def authenticate(self, headers: Mapping[bytes, bytes]) -> Identity:
        """Whose token `X-Auth-Token` is. Raises Unauthorized, and Unavailable where Keystone cannot be asked.

        With the token of a service in `X-Service-Token` the caller's own may have expired: so a long task can finish.
        How long after its end Keystone still knows it is Keystone's `allow_expired_window`.
        """
        token = headers.get(b"x-auth-token")
        if not token:
            raise unauthorized()
        service_token = headers.get(b"x-service-token")
        if not service_token:
            who, _ = await self._validated(token, allow_expired=False)
            return who
        service, _ = await self._validated(service_token, allow_expired=False)
        who, _ = await self._validated(token, allow_expired=SERVICE_ROLE in service.roles)
        return msgspec.structs.replace(who, service_roles=service.roles)

    async def _validated(self, token: bytes, *, allow_expired: bool) -> Validated:
        """Raises Unauthorized, Unavailable."""
        if len(token) > TOKEN_BYTES_MAX:
            raise unauthorized()
        now_s = self._clock.now_s()
        key = sha256(token).digest()
        known: Validated | None = self._known.get(key, now_s)
        if known is None and allow_expired:
            key += b"expired"
            known = self._known.get(key, now_s)
        if known is not None:
            return known
        if self._refused.get(key, now_s):
            raise unauthorized()
        found = await asyncio.shield(self._flight(key, token, allow_expired=allow_expired))
        if found is None:
            raise unauthorized()
        return found

    def _flight(self, key: bytes, token: bytes, *, allow_expired: bool) -> asyncio.Task[Validated | None]:
        """The question about this token that is under way, or a new one; a caller that leaves does not end it."""
        task = self._asking.get(key)
        if task is None:
            if len(self._asking) >= VALIDATIONS_MAX:
                raise Unavailable("Too many tokens wait for Keystone: try again in a moment.")
            task = asyncio.create_task(self._ask(key, token, allow_expired=allow_expired), name="token")
            self._asking[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return task

    def _landed(self, key: bytes, done: asyncio.Task[Validated | None]) -> None:
        del self._asking[key]
        if not done.cancelled():
            done.exception()  # whoever waits is told; nobody may be left to wait

    async def _ask(self, key: bytes, token: bytes, *, allow_expired: bool) -> Validated | None:
        try:
            answer = await self._fetched(token, allow_expired=allow_expired)
        except _UnknownTokenError:
            self._count("refused")
            self._refused.put(key, True, self._clock.now_s() + REFUSED_S)
            return None
        except Unavailable:
            self._count("unavailable")
            raise
        who, expires_s = _read(answer.token)
        now_s = self._clock.now_s()
        if expires_s <= now_s and not allow_expired:
            self._count("refused")
            return None
        self._count("valid")
        until_s = now_s + self._access.cache_s
        self._known.put(key, (who, expires_s), until_s if allow_expired else min(until_s, expires_s))
        return who, expires_s

    async def _fetched(self, token: bytes, *, allow_expired: bool) -> _Answer:
        """What Keystone says of the token. Raises _UnknownTokenError, Unavailable."""
        parameters = {"nocatalog": "1"} | ({"allow_expired": "1"} if allow_expired else {})
        for is_last in (False, True):
            own = await self._own()
            headers = {b"x-auth-token": own.encode(), b"x-subject-token": token}
            answer = await self._sent(
                self._http.build_request("GET", self._tokens_url, params=parameters, headers=headers)
            )
            match answer.status_code:
                case 200:
                    return _parsed(answer)
                case 404 | 400:
                    raise _UnknownTokenError
                case 401 if not is_last:
                    self._own_until_s = 0.0 if self._own_token == own else self._own_until_s
                case status:
                    raise _unavailable(f"it answered {status} when it was asked about a token")
        raise AssertionError("the second answer is taken as it is")

    async def _own(self) -> str:
        """Our own token, a new one where the last is at its end. Raises Unavailable.

        All who need a new one wait for one login, and are told together where it fails.
        """
        if self._clock.now_s() < self._own_until_s:
            return self._own_token
        if self._own_flight is None or self._own_flight.done():
            self._own_flight = asyncio.create_task(self._logged_in(), name="login")
        return await asyncio.shield(self._own_flight)

    async def _logged_in(self) -> str:
        login = msgspec.json.encode(self._login())
        headers = {"content-type": "application/json"}
        answer = await self._sent(
            self._http.build_request("POST", self._tokens_url, content=login, headers=headers)
        )
        if answer.status_code != 201:
            raise _unavailable(f"it answered {answer.status_code} to the login of {self._access.user}")
        self._own_token = answer.headers.get("x-subject-token", "")
        self._own_until_s = _epoch_s(_parsed(answer).token.expires_at) - OWN_TOKEN_SPARE_S
        return self._own_token

    def _login(self) -> dict[str, Any]:
        access = self._access
        user = {"name": access.user, "domain": {"name": access.user_domain}, "password": access.password}
        project = {"name": access.project, "domain": {"name": access.project_domain}}
        method = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": method, "scope": {"project": project}}}

    async def _sent(self, request: httpx.Request) -> httpx.Response:
        """The answer, after `ATTEMPTS` at most. Raises Unavailable."""
        wrong = ""
        for _ in range(ATTEMPTS):
            try:
                with self._meters.histogram(metrics.KEYSTONE_SECONDS).time():
                    answer = await self._http.send(request)
            except httpx.HTTPError as failure:
                wrong = str(failure) or type(failure).__name__
                continue
            if answer.status_code not in {502, 503, 504}:
                return answer
            wrong = f"it answered {answer.status_code}"
        raise _unavailable(wrong)

    def _count(self, outcome: str) -> None:
        self._meters.counter(metrics.TOKENS, outcome).inc()


def unauthorized() -> Unauthorized:
    """The refusal of a caller that nobody knows, in the words of Keystone's own middleware."""
    return Unauthorized("The request you have made requires authentication.")


def _unavailable(why: str) -> Unavailable:
    log_warning("keystone does not answer", why=why)
    return Unavailable("The Keystone service is temporarily unavailable.")


def _parsed(answer: httpx.Response) -> _Answer:
    try:
        return _decode(answer.content)
    except msgspec.MsgspecError as wrong:
        raise _unavailable(f"its answer is not of the Identity API v3: {wrong}") from None


def _read(token: _Token) -> Validated:
    """Raises Unavailable where Keystone's time is none."""
    project = token.project or _Owned("")
    standing = Standing(
        user_domain_id=token.user.domain.id,
        project_domain_id=project.domain.id,
        domain_id=token.domain.id if token.domain else "",
        system_scope="all" if token.system and token.system.get("all") else "",
        is_admin_project=token.is_admin_project,
    )
    who = identity(project.id, token.user.id, [role.name for role in token.roles], standing)
    return who, _epoch_s(token.expires_at)


def _epoch_s(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise _unavailable(f"'{text}' is not a time") from None


def _root_of(url: str) -> str:
    return url.rstrip("/").removesuffix("/v3").rstrip("/")
