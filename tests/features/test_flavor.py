# SPDX-License-Identifier: Apache-2.0
"""Flavors, service profiles and service providers over REST."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from alcor.base.config import Providers
from tests.features.door import Door, open_door

PROVIDERS = Providers((("QOS", "meters", "alcor.meters", "default"), ("QOS", "queues", "alcor.queues", "")))


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path, service_providers=PROVIDERS) as door:
        yield door


async def flavor(api: Door, **given: object) -> dict:
    return await api.create("flavor", service_type="FLAVORS", **given)


async def test_flavor_is_made_shown_changed_and_deleted(api: Door) -> None:
    made = await flavor(api, name="gold", description="the best")
    assert made["enabled"] is True
    assert made["service_profiles"] == []
    changed = await api.update("flavor", made["id"], enabled="false", name="silver")
    assert (changed["enabled"], changed["name"], changed["service_type"]) == (False, "silver", "FLAVORS")
    assert [each["id"] for each in await api.list("flavors", enabled="false")] == [made["id"]]
    await api.delete("flavor", made["id"])
    error = await api.refused("GET", f"/v2.0/flavors/{made['id']}", None, 404)
    assert error["type"] == "FlavorNotFound"


async def test_flavor_of_a_service_that_does_not_run_is_refused(api: Door) -> None:
    error = await api.refused("POST", "/v2.0/flavors", {"flavor": {"service_type": "VPN"}}, 400)
    assert (error["type"], error["message"]) == ("InvalidServiceType", "Invalid service type: VPN.")


async def test_flavors_are_seen_by_all_and_profiles_by_admins(api: Door) -> None:
    made = await flavor(api)
    profile = await api.create("service_profile", metainfo="{}")
    assert [each["id"] for each in await api.list("flavors", as_project="blue")] == [made["id"]]
    await api.refused("PUT", f"/v2.0/flavors/{made['id']}", {"flavor": {}}, 403, as_project="blue")
    await api.refused("GET", f"/v2.0/service_profiles/{profile['id']}", None, 404, as_project="blue")


async def test_profile_needs_metainfo_or_the_driver_of_a_provider(api: Door) -> None:
    made = await api.create("service_profile", driver="alcor.meters", description=None)
    assert (made["driver"], made["description"], made["flavors"]) == ("alcor.meters", "", [])
    empty = await api.refused("POST", "/v2.0/service_profiles", {"service_profile": {}}, 400)
    assert empty["type"] == "ServiceProfileEmpty"
    for method, url in (("POST", "service_profiles"), ("PUT", f"service_profiles/{made['id']}")):
        body = {"service_profile": {"driver": "unknown"}}
        error = await api.refused(method, f"/v2.0/{url}", body, 404)
        assert error["type"] == "ServiceProfileDriverNotFound"


async def test_profile_belongs_to_flavors_while_it_is_associated(api: Door) -> None:
    made, profile = await flavor(api), await api.create("service_profile", driver="alcor.queues")
    url, body = f"/v2.0/flavors/{made['id']}/service_profiles", {"service_profile": {"id": profile["id"]}}
    assert await api.ask("POST", url, body) == (201, {"service_profile": {"id": profile["id"]}})
    assert (await api.show("flavor", made["id"]))["service_profiles"] == [profile["id"]]
    assert (await api.show("service_profile", profile["id"]))["flavors"] == [made["id"]]
    assert (await api.refused("POST", url, body, 409))["type"] == "FlavorServiceProfileBindingExists"

    assert await api.ask("GET", f"{url}/{profile['id']}") == (200, {"service_profile": {}})
    await api.refused("GET", f"{url}/{profile['id']}", None, 403, as_project="blue")
    one = f"/v2.0/service_profiles/{profile['id']}"
    assert (await api.refused("DELETE", one, None, 409))["type"] == "ServiceProfileInUse"
    changes = {"service_profile": {"enabled": False}}
    assert (await api.refused("PUT", one, changes, 409))["type"] == "ServiceProfileInUse"

    assert await api.ask("DELETE", f"{url}/{profile['id']}") == (204, None)
    for method in ("DELETE", "GET"):
        error = await api.refused(method, f"{url}/{profile['id']}", None, 404)
        assert error["type"] == "FlavorServiceProfileBindingNotFound"
    await api.delete("service_profile", profile["id"])
    assert (await api.refused("POST", url, body, 404))["type"] == "ServiceProfileNotFound"


async def test_profiles_given_with_a_flavor_are_its(api: Door) -> None:
    profile = await api.create("service_profile", metainfo="{}")
    made = await flavor(api, service_profiles=[profile["id"]])
    assert (await api.show("service_profile", profile["id"]))["flavors"] == [made["id"]]
    assert (await api.update("flavor", made["id"], service_profiles=[]))["service_profiles"] == []


async def test_next_provider_is_that_of_the_first_profile(api: Door) -> None:
    made = await flavor(api)
    url = f"/v2.0/flavors/{made['id']}/next_provider"
    assert (await api.refused("GET", url, None, 404))["type"] == "FlavorServiceProfileBindingNotFound"

    profiles = [
        await api.create("service_profile", **given)
        for given in (
            {"driver": "alcor.queues"},
            {"driver": "alcor.meters", "enabled": False},
            {"metainfo": "{}"},
        )
    ]
    answers = []
    for profile in profiles:
        await api.update("flavor", made["id"], service_profiles=[profile["id"]])
        answers.append(await api.ask("GET", url))
    assert answers[0] == (200, {"next_providers": [{"driver": "alcor.queues", "provider": "queues"}]})
    assert [(status, answer["NeutronError"]["type"]) for status, answer in answers[1:]] == [
        (503, "ServiceProfileDisabled"),
        (404, "ServiceProfileDriverNotFound"),
    ]


async def test_service_providers_are_those_that_are_set(api: Door) -> None:
    meters = {"service_type": "QOS", "name": "meters", "default": True}
    queues = {"service_type": "QOS", "name": "queues", "default": False}
    url = "/v2.0/service-providers"
    assert await api.ask("GET", url, as_project="blue") == (200, {"service_providers": [meters, queues]})
    assert await api.ask("GET", f"{url}?name=queues&any=1") == (200, {"service_providers": [queues]})
    assert await api.ask("GET", f"{url}?driver=alcor.queues&limit=x") == (
        200,
        {"service_providers": [queues]},
    )
    assert await api.ask("GET", f"{url}?default=True") == (200, {"service_providers": [meters]})
