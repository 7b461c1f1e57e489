# SPDX-License-Identifier: Apache-2.0
"""What a POST or PUT body may say, and how the rest is refused in Neutron's words."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.api.world import Api, error_of


async def test_unknown_attribute_is_refused_by_name(api: Api):
    assert await api.refusal("POST", "networks", {"network": {"zorp": 1, "nmae": "x"}}) == (
        400,
        "HTTPBadRequest",
        "Unrecognized attribute(s) 'nmae, zorp'",
    )


async def test_attribute_that_is_only_answered_is_not_allowed_in_post(api: Api):
    for name in ("id", "status", "revision_number", "created_at"):
        answer = await api.refusal("POST", "networks", {"network": {name: "x"}})
        assert answer == (400, "HTTPBadRequest", f"Attribute '{name}' not allowed in POST")


async def test_attribute_that_never_changes_is_refused_in_put(api: Api):
    network = await api.make("network")
    for name in ("id", "tenant_id", "project_id", "status", "updated_at"):
        answer = await api.refusal("PUT", f"networks/{network['id']}", {"network": {name: "x"}})
        assert answer == (400, "HTTPBadRequest", f"Cannot update read-only attribute {name}")


async def test_missing_required_attribute_is_named(api: Api):
    assert await api.refusal("POST", "ports", {"port": {"name": "p"}}) == (
        400,
        "HTTPBadRequest",
        "Failed to parse request. Required attribute 'network_id' not specified",
    )


async def test_bad_value_is_refused_with_its_reason(api: Api):
    status, kind, message = await api.refusal("POST", "networks", {"network": {"name": 7}})
    assert (status, kind) == (400, "HTTPBadRequest")
    assert message == "Invalid input for name. Reason: '7' is not a valid string."

    _, _, message = await api.refusal("POST", "networks", {"network": {"name": "n" * 256}})
    assert message.endswith("exceeds maximum length of 255.")
    assert len(message) < 400

    _, _, message = await api.refusal("POST", "networks", {"network": {"admin_state_up": "perhaps"}})
    assert message == "Invalid input for admin_state_up. Reason: 'perhaps' cannot be converted to boolean."


@pytest.mark.parametrize(
    ("noun", "field"), [("port", "fixed_ips"), ("subnet", "allocation_pools"), ("subnet", "dns_nameservers")]
)
async def test_refusal_repeats_only_the_beginning_of_a_long_value(api: Api, noun: str, field: str):
    network = await api.make("network")
    needed = {"port": {}, "subnet": {"cidr": "10.0.0.0/24", "ip_version": 4}}[noun]
    body = {noun: {**needed, "network_id": network["id"], field: ["x" * 100_000]}}
    status, _, message = await api.refusal("POST", f"{noun}s", body)
    assert status == 400
    assert message.startswith(f"Invalid input for {field}. Reason: ")
    assert len(message) < 2_000


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (True, True),
        ("true", True),
        ("1", True),
        (1, True),
        ("Yes", True),
        ("False", False),
        (0, False),
        ("off", False),
    ],
)
async def test_boolean_is_taken_as_neutron_converts_it(api: Api, said: object, meant: bool):
    network = await api.make("network", admin_state_up=said)
    assert network["admin_state_up"] is meant


async def test_null_is_the_default_where_the_attribute_takes_it_and_else_refused(api: Api):
    assert (await api.make("network", description=None))["description"] == ""
    _, _, message = await api.refusal("POST", "networks", {"network": {"name": None}})
    assert message == "Invalid input for name. Reason: 'None' is not a valid string."


async def test_absent_is_not_null(api: Api):
    network = await api.make("network")
    given = {"network_id": network["id"], "ip_version": 4, "cidr": "10.1.0.0/24"}
    assert (await api.make("subnet", **given))["gateway_ip"] == "10.1.0.1"
    given["cidr"] = "10.2.0.0/24"
    assert (await api.make("subnet", **given, gateway_ip=None))["gateway_ip"] is None


async def test_tenant_id_is_another_name_of_project_id(api: Api):
    made = await api.make("network", tenant_id="p1")
    assert (made["project_id"], made["tenant_id"]) == ("p1", "p1")
    assert (await api.make("network", tenant_id="p1", project_id="p1"))["project_id"] == "p1"
    both = {"network": {"tenant_id": "p1", "project_id": "p2"}}
    assert await api.refusal("POST", "networks", both) == (
        400,
        "HTTPBadRequest",
        "'project_id' and 'tenant_id' do not match",
    )


async def test_nobody_but_an_admin_creates_for_another_project(api: Api):
    for name in ("project_id", "tenant_id"):
        status, kind, message = await api.refusal(
            "POST", "networks", {"network": {name: "p2"}}, project="p1", roles="member"
        )
        assert (status, kind) == (400, "HTTPBadRequest")
        assert message.startswith("Specifying 'project_id' other than the authenticated project")
    own = await api.make("network", project_id="p1", project="p1", roles="member")
    assert own["project_id"] == "p1"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "Body contains invalid data"),
        ("network", "Body contains invalid data"),
        ({}, "Resource body required"),
        ({"subnet": {}}, "Unable to find 'network' in request body"),
        ({"network": None}, "Unable to find 'network' in request body"),
        ({"network": "blue"}, "Object 'network' contains invalid data"),
        ({"network": []}, "Object 'network' contains invalid data"),
        ({"networks": []}, "Resources required"),
        ({"networks": {"name": "x"}}, "Body contains invalid data"),
        ({"networks": [7]}, "Object 'network' contains invalid data"),
    ],
)
async def test_wrong_envelope_is_refused(api: Api, body: object, message: str):
    assert await api.refusal("POST", "networks", body) == (400, "HTTPBadRequest", message)


async def test_put_takes_one_object_only(api: Api):
    network = await api.make("network")
    body = {"networks": [{"name": "x"}]}
    assert await api.refusal("PUT", f"networks/{network['id']}", body) == (
        400,
        "HTTPBadRequest",
        "Bulk operation not supported",
    )


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"network":', b"\xff\xfe", b'{"network": NaN}', b"[" * 100_000]
)
async def test_malformed_json_is_refused(api: Api, text: bytes):
    answer = await api.http.post("/v2.0/networks", content=text)
    status, kind, message = error_of(answer)
    assert (status, kind) == (400, "HTTPBadRequest")
    assert message.startswith("Body contains invalid data")


@pytest.mark.parametrize("depth", [40, 400, 900, 100_000])
async def test_deeply_nested_body_is_refused(api: Api, depth: int):
    for name in ("name", "admin_state_up", "binding:profile", "mtu"):
        text = b'{"port": {"%s": %s%s}}' % (name.encode(), b'{"a":' * depth, b"1" + b"}" * depth)
        answer = await api.http.post("/v2.0/ports", content=text)
        assert error_of(answer)[2] == "Body contains invalid data: it is nested more than 32 deep"


async def test_body_that_is_wide_is_not_deep(api: Api):
    network = await api.make("network")
    profile = {"a": [[number] for number in range(100)]}
    assert (await api.make("port", network_id=network["id"], **{"binding:profile": profile}))[
        "binding:profile"
    ] == profile


@pytest.mark.parametrize("number", [10**30, 2**64, -(2**63) - 1])
async def test_number_that_could_not_be_kept_is_refused(api: Api, number: int):
    for fields in ({"binding:profile": {"a": [number]}}, {"admin_state_up": number}, {"name": number}):
        refused = await api.refusal("POST", "ports", {"port": {"network_id": "x", **fields}})
        assert refused == (
            400,
            "HTTPBadRequest",
            "Body contains invalid data: a number is longer than 64 bits",
        )
    network = await api.make("network", name="1234567890123456789012345")
    port = await api.make("port", network_id=network["id"], **{"binding:profile": {"a": 2**64 - 1}})
    assert port["binding:profile"] == {"a": 2**64 - 1}


async def test_body_of_another_media_type_is_415(api: Api):
    answer = await api.http.post(
        "/v2.0/networks", content=b"<x/>", headers={"Content-Type": "application/xml"}
    )
    assert error_of(answer)[:2] == (415, "HTTPUnsupportedMediaType")
    fine = await api.http.post(
        "/v2.0/networks",
        content=b'{"network":{}}',
        headers={"Content-Type": "application/json; charset=utf-8"},
    )
    assert fine.status_code == 201


async def test_body_over_the_limit_is_413(start):
    api = await start(body_bytes_max=1024)
    status, kind, message = await api.refusal("POST", "networks", {"network": {"name": "n" * 2000}})
    assert (status, kind) == (413, "HTTPRequestEntityTooLarge")
    assert "1024" in message


async def test_delete_takes_no_body(api: Api):
    network = await api.make("network")
    assert await api.refusal("DELETE", f"networks/{network['id']}", {"network": {}}) == (
        400,
        "HTTPBadRequest",
        "Request body is not supported in DELETE.",
    )


async def test_bodies_of_all_requests_together_hold_a_bounded_part_of_memory(start: Callable[..., Any]):
    api = await start(bodies_bytes_max=2_048)
    held = asyncio.Event()
    released = asyncio.Event()

    async def slowly():
        yield b'{"network": {"name": "' + b"n" * 100 + b" " * 1_800
        held.set()
        await released.wait()
        yield b'"}}'

    first = asyncio.create_task(
        api.http.post("/v2.0/networks", content=slowly(), headers={"content-type": "application/json"})
    )
    await held.wait()
    assert await api.refusal("POST", "networks", {"network": {"description": "d" * 200}}) == (
        503,
        "RequestBodiesExceeded",
        "All requests' bodies together may hold 2048 bytes: try again in a moment.",
    )
    released.set()
    assert (await first).status_code == 400  # the name is too long, and nothing else
    assert api.app.parts.bodies.bytes == 0
    await api.make("network", description="d" * 200)
