# SPDX-License-Identifier: Apache-2.0
"""Callers are who Keystone says they are: fresh, kept, expired, revoked, vouched for, and with Keystone gone."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alcor.api.keystone import Access, KeystoneAuth
from alcor.base import metrics
from alcor.base.clock import SystemClock
from alcor.base.config import Settings
from alcor.base.errors import Unauthorized, Unavailable
from alcor.base.telemetry import Meters
from alcor.resource.context import Identity
from tests.api.fake_keystone import PASSWORD, FakeKeystone, fake_keystone
from tests.api.world import NO_QUOTA, Api, running


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_s(self) -> float:
        return SystemClock().now_s() + self.ahead_s

    def monotonic_s(self) -> float:
        return self.now_s()


@pytest.fixture
def keystone() -> Iterator[FakeKeystone]:
    with fake_keystone() as fake:
        yield fake


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def made(keystone: FakeKeystone, time: Time) -> AsyncIterator[Callable[..., KeystoneAuth]]:
    """Makes the product's side; closed at the end of the test."""
    async with AsyncExitStack() as stack:

        def make(meters: Meters | None = None, **changes: Any) -> KeystoneAuth:
            settings = Settings(
                auth="keystone", keystone_url=f"{keystone.url}/v3/", keystone_password=PASSWORD
            )
            auth = KeystoneAuth(replace(Access.of(settings), **changes), time, meters or Meters())
            stack.push_async_callback(auth.close)
            return auth

        yield make


async def who(auth: KeystoneAuth, token: str, service: str = "") -> Identity:
    headers = {b"x-auth-token": token.encode()}
    return await auth.authenticate(headers | ({b"x-service-token": service.encode()} if service else {}))


async def test_a_token_tells_project_user_domains_and_roles(keystone: FakeKeystone, made: Any) -> None:
    found = await who(made(), keystone.issue("t", "member", "Reader"))
    assert (found.project_id, found.user_id) == ("p1", "user-1")
    assert (found.project_domain_id, found.user_domain_id) == ("default", "default")
    assert found.roles == {"member", "reader"}
    assert (found.is_admin, found.can_write, found.system_scope, found.is_admin_project) == (
        False,
        True,
        "",
        True,
    )


async def test_a_token_of_the_system_a_domain_or_no_admin_project_says_so(
    keystone: FakeKeystone, made: Any
) -> None:
    auth = made()
    system = await who(auth, keystone.issue("s", "admin", system={"all": True}))
    assert (system.system_scope, system.project_id, system.is_admin) == ("all", "", True)
    domain = await who(auth, keystone.issue("d", "admin", domain={"id": "dom", "name": "dom"}))
    assert (domain.domain_id, domain.project_id) == ("dom", "")
    other = await who(auth, keystone.issue("o", "admin", is_admin_project=False))
    assert not other.is_admin_project


async def test_a_token_is_asked_about_once_however_many_bring_it(keystone: FakeKeystone, made: Any) -> None:
    auth = made()
    keystone.issue("t", "member")
    keystone.gate.clear()
    many = [asyncio.create_task(who(auth, "t")) for _ in range(50)]
    while not keystone.asked:
        await asyncio.sleep(0.005)
    many[0].cancel()  # a client that leaves takes nothing from the others
    keystone.gate.set()
    found = await asyncio.gather(*many, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert all(isinstance(one, Identity) for one in found[1:])
    assert keystone.asked == ["t"]
    assert await who(auth, "t") == found[1]
    assert (keystone.asked, keystone.logins) == (["t"], 1)


async def test_all_who_wait_for_one_login_are_told_together_that_it_failed(
    keystone: FakeKeystone, made: Any
) -> None:
    auth = made(password="of another service")
    many = [who(auth, keystone.issue(f"t{number}", "member")) for number in range(5)]
    found = await asyncio.gather(*many, return_exceptions=True)
    assert [type(one) for one in found] == [Unavailable] * 5
    assert keystone.logins == 1


async def test_a_revoked_token_is_taken_for_the_window_and_no_longer(
    keystone: FakeKeystone, made: Any, time: Time
) -> None:
    auth = made(cache_s=60.0)
    await who(auth, keystone.issue("t", "member"))
    del keystone.tokens["t"]
    time.ahead_s = 59
    await who(auth, "t")
    time.ahead_s = 61
    with pytest.raises(Unauthorized):
        await who(auth, "t")


async def test_a_kept_token_ends_when_it_expires(keystone: FakeKeystone, made: Any, time: Time) -> None:
    auth = made(cache_s=3_600.0)
    await who(auth, keystone.issue("t", "member", expires_in_s=30))
    time.ahead_s = 31
    with pytest.raises(Unauthorized):  # also by a Keystone whose clock is behind
        await who(auth, "t")


async def test_nothing_is_kept_without_a_window(keystone: FakeKeystone, made: Any) -> None:
    auth = made(cache_s=0.0)
    keystone.issue("t", "member")
    await who(auth, "t")
    await who(auth, "t")
    assert keystone.asked == ["t", "t"]


async def test_an_unknown_token_is_not_asked_about_at_every_request(
    keystone: FakeKeystone, made: Any, time: Time
) -> None:
    meters = Meters()
    auth = made(meters)
    for _ in range(3):
        with pytest.raises(Unauthorized):
            await who(auth, "unknown")
    assert keystone.asked == ["unknown"]
    assert meters.value(metrics.TOKENS, "refused") == 1
    assert meters.value(metrics.KEYSTONE_SECONDS) == 2, "its own token, and the question"
    keystone.issue("unknown", "member")
    time.ahead_s = 11
    assert (await who(auth, "unknown")).project_id == "p1"


async def test_no_token_and_too_long_a_token_are_refused_without_asking(
    keystone: FakeKeystone, made: Any
) -> None:
    auth = made()
    for headers in ({}, {b"x-auth-token": b""}, {b"x-auth-token": b"x" * 9_000}):
        with pytest.raises(Unauthorized):
            await auth.authenticate(headers)
    assert keystone.asked == []


async def test_with_keystone_gone_kept_tokens_are_served_and_others_told_so(
    keystone: FakeKeystone, made: Any
) -> None:
    auth = made()
    await who(auth, keystone.issue("kept", "member"))
    keystone.issue("new", "member")
    keystone.status = 503
    assert (await who(auth, "kept")).project_id == "p1"
    with pytest.raises(Unavailable):
        await who(auth, "new")
    keystone.status = 0
    assert (await who(auth, "new")).project_id == "p1"


async def test_with_nobody_at_keystones_address_tokens_are_told_so(made: Any) -> None:
    with pytest.raises(Unavailable):
        await who(made(url="http://127.0.0.1:1"), "new")


async def test_a_wrong_password_is_our_fault_not_the_callers(keystone: FakeKeystone, made: Any) -> None:
    auth = made(password="another")
    with pytest.raises(Unavailable):
        await who(auth, keystone.issue("t", "member"))


@pytest.mark.parametrize("wrong", [{"user": 3}, {"expires_at": "soon"}])
async def test_an_answer_that_is_none_of_keystones_lets_nobody_in(
    keystone: FakeKeystone, made: Any, wrong: dict[str, Any]
) -> None:
    with pytest.raises(Unavailable):
        await who(made(), keystone.issue("t", "member", expires_in_s=3_600, **wrong, project={"id": "p1"}))


async def test_our_own_token_is_renewed_when_keystone_knows_it_no_more(
    keystone: FakeKeystone, made: Any, time: Time
) -> None:
    auth = made()
    await who(auth, keystone.issue("a", "member"))
    del keystone.tokens["own-1"]
    assert (await who(auth, keystone.issue("b", "member"))).project_id == "p1"
    assert keystone.logins == 2
    time.ahead_s = 3_550  # within the last minute of ours
    keystone.issue("c", "member", expires_in_s=7_200)
    await who(auth, "c")
    assert keystone.logins == 3


async def test_a_service_may_bring_an_expired_token_of_its_user(keystone: FakeKeystone, made: Any) -> None:
    auth = made()
    keystone.issue("expired", "member", expires_in_s=-10)
    keystone.issue("nova", "service", "admin")
    keystone.issue("mere", "member")
    with pytest.raises(Unauthorized):
        await who(auth, "expired")
    with pytest.raises(Unauthorized):
        await who(auth, "expired", "mere")
    found = await who(auth, "expired", "nova")
    assert found.roles == {"member"}
    assert found.service_roles == {"service", "admin"}
    assert not found.is_admin
    with pytest.raises(Unauthorized):  # what the service may is not what the user may alone
        await who(auth, "expired")
    with pytest.raises(Unauthorized):
        await who(auth, keystone.issue("fresh", "member"), "unknown")


async def test_kept_tokens_are_bounded_and_the_oldest_go(keystone: FakeKeystone, made: Any) -> None:
    auth = made(cache_max=3)
    for number in range(5):
        await who(auth, keystone.issue(f"t{number}", "member"))
    for number in (2, 3, 4):
        await who(auth, f"t{number}")
    assert len(keystone.asked) == 5
    await who(auth, "t0")
    assert len(keystone.asked) == 6


def test_the_password_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    settings = Settings(auth="keystone", keystone_url="https://k/v3", keystone_password_file=file)
    access = Access.of(settings)
    assert (access.password, access.url, access.public_url) == ("secret", "https://k", "https://k")


@pytest.fixture
async def api(tmp_path: Path, made: Any) -> AsyncIterator[Api]:
    async with running(tmp_path, Settings(**NO_QUOTA), auth=made(public_url="https://keystone.test")) as api:
        yield api


async def test_the_api_knows_its_callers_by_their_tokens(keystone: FakeKeystone, api: Api) -> None:
    member = {"X-Auth-Token": keystone.issue("t", "member", "reader")}
    answer = await api.call("POST", "networks", {"network": {"name": "blue"}}, headers=member)
    assert answer.status_code == 201, answer.text
    assert answer.json()["network"]["project_id"] == "p1"
    other = {"id": "p2", "domain": {"id": "default"}}
    stranger = {"X-Auth-Token": keystone.issue("u", "member", "reader", project=other)}
    assert (await api.get("networks", headers=stranger)).json() == {"networks": []}


async def test_an_unknown_caller_is_told_as_keystones_middleware_does(api: Api) -> None:
    answer = await api.get("networks", headers={"X-Project-Id": "p1", "X-Roles": "admin"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Keystone uri="https://keystone.test"'
    message = "The request you have made requires authentication."
    assert answer.json() == {"error": {"code": 401, "title": "Unauthorized", "message": message}}
    assert (await api.http.get("/")).status_code == 200
