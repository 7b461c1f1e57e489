# SPDX-License-Identifier: Apache-2.0
"""The served description fits the service: clients made from it meet no surprise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from alcor.api.openapi import document
from alcor.base.config import Settings
from alcor.features import control
from alcor.resource.engine import Engine
from tests.api.served import served
from tests.api.world import Api

OPERATIONS = [
    (method, path)
    for path, methods in document(Engine(control.REST), Settings())["paths"].items()
    for method in methods
    if method != "parameters"
]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@dataclass
class World:
    """A running service, its description, and ids of objects that it has, by noun."""

    schema: Any
    ids: dict[str, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(tmp_path_factory.mktemp("openapi"), bulk_max=20) as server:
        yield World(schemathesis.openapi.from_url(f"{server.url}/openapi.json"), made(server.url))


def made(url: str) -> dict[str, str]:
    """Makes one object of each noun that can be made."""
    ids: dict[str, str] = {}

    def make(noun: str, **given: object) -> None:
        answer = httpx.post(f"{url}/v2.0/{noun.replace('_', '-')}s", json={noun: given})
        assert answer.status_code == 201, answer.text
        ids[noun] = answer.json()[noun]["id"]

    make("network")
    make("subnet", network_id=ids["network"], ip_version=4, cidr="10.0.0.0/24")
    make("port", network_id=ids["network"])
    make("security_group")
    make("security_group_rule", security_group_id=ids["security_group"], direction="ingress")
    return ids


def filled(value: Any, ids: dict[str, str]) -> Any:
    """A generated body with ids of objects that are there."""
    if isinstance(value, list):
        return [filled(each, ids) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: ids[name[:-3]] if name.endswith("_id") and name[:-3] in ids else filled(each, ids)
        for name, each in value.items()
    }


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_request_meets_a_fault_or_an_answer_that_is_not_described(world: World, method: str, path: str):
    operation = world.schema[path][method]
    cases = operation.as_strategy()
    if method in ("post", "put"):
        cases |= operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @given(case=cases, meets=strategies.booleans())
    @settings(max_examples=25, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    def holds(case: schemathesis.Case, meets: bool) -> None:
        if meets and method != "delete":
            for name in case.path_parameters or {}:
                case.path_parameters[name] = world.ids.get(name.removesuffix("_id"), "x")
            case.body = filled(case.body, world.ids)
        case.call_and_validate(checks=CHECKS, timeout=10)

    holds()


async def test_description_has_every_noun_with_what_it_takes_and_answers(api: Api):
    served = (await api.http.get("/openapi.json")).json()
    assert served["openapi"].startswith("3.1")
    port, given = (served["components"]["schemas"][name]["properties"] for name in ("port", "port_create"))
    assert {"id", "tenant_id", "status", "binding:vif_type", "fixed_ips"} <= set(port)
    assert not {"id", "status", "group_set"} & set(given)
    assert "group_set" not in port
    assert served["components"]["schemas"]["port_create"]["required"] == ["network_id"]
    assert set(served["paths"]["/v2.0/ports/{port_id}"]) == {"parameters", "get", "put", "delete"}
    assert set(served["paths"]["/v2.0/agents"]) == {"get"}


async def test_answers_have_exactly_the_described_fields(api: Api):
    schemas = (await api.http.get("/openapi.json")).json()["components"]["schemas"]
    network = await api.make("network")
    subnet = await api.make("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
    port = await api.make("port", network_id=network["id"])
    assert set(schemas["port"]["properties"]) - set(port) == {"trunk_details"}  # it is none's
    await api.make("trunk", port_id=port["id"], sub_ports=[])
    port = (await api.http.get(f"/v2.0/ports/{port['id']}")).json()["port"]
    group = await api.make("security_group")
    rule = group["security_group_rules"][0]
    for name, made in (
        ("network", network),
        ("subnet", subnet),
        ("port", port),
        ("security_group", group),
        ("security_group_rule", rule),
    ):
        absent = {"segments"} if name == "network" else set()  # it has one, which provider:* tell
        assert set(made) == set(schemas[name]["properties"]) - absent, name
