# SPDX-License-Identifier: Apache-2.0
"""What no client should send: each is refused in Neutron's form, changes nothing, and the process serves on."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.served import Served, served

ABSENT = "00000000-0000-4000-8000-000000000001"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, str]]:
    """The product with its own bounds, and a network whose only address is taken."""
    with served(tmp_path_factory.mktemp("bad")) as server:
        network = post(server, "networks", {"network": {}}).json()["network"]["id"]
        subnet = {"network_id": network, "ip_version": 4, "cidr": "10.0.0.0/30"}
        assert post(server, "subnets", {"subnet": subnet}).status_code == 201
        assert post(server, "ports", {"port": {"network_id": network}}).status_code == 201
        yield server, network


def post(server: Served, path: str, body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v2.0/{path}", json=body, timeout=30)


def revision(server: Served) -> int:
    """Of the log; asking for it shows that the process serves."""
    answer = httpx.get(f"{server.url}/healthz")
    assert answer.status_code == 200
    return int(answer.json()["revision"])


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b"", 400),
        (b"\xff\xfe", 400),
        (b'{"network": {"name": "\\ud800"}}', 400),
        (b"[" * 100_000, 400),
        (b'{"network": {"name": "' + b"x" * 10_000_000 + b'"}}', 413),
    ],
    ids=["cut off", "empty", "no UTF-8", "half a character", "deep", "10 MB"],
)
def test_body_that_is_no_json_or_too_long_is_refused(
    site: tuple[Served, str], content: bytes, status: int
) -> None:
    server, _ = site
    before = revision(server)
    answer = httpx.post(f"{server.url}/v2.0/networks", content=content, headers=JSON, timeout=30)
    assert answer.status_code == status
    assert set(answer.json()["NeutronError"]) == {"type", "message", "detail"}
    assert revision(server) == before


@pytest.mark.parametrize(
    ("path", "one", "status"),
    [
        ("networks", {"network": {"admin_state_up": "perhaps"}}, 400),
        ("networks", {"network": {"name": 7}}, 400),
        ("networks", {"network": {"colour": "red"}}, 400),
        ("networks", {"networks": [{"name": "good"}, {"colour": "red"}]}, 400),
        ("subnets", {"subnet": {"network_id": ABSENT, "ip_version": 4, "cidr": "10.9.0.0/24"}}, 404),
        ("subnets", {"subnet": {"network_id": "", "ip_version": 4, "cidr": "10.0.0.0/29"}}, 400),
        ("ports", {"port": {"network_id": ABSENT}}, 404),
        ("ports", {"port": {"network_id": ""}}, 409),
        ("ports", {"ports": [{"network_id": "", "fixed_ips": []}, {"network_id": ""}]}, 409),
        ("ports", {"port": {"network_id": "", "fixed_ips": [], "security_groups": [ABSENT]}}, 404),
        ("security-group-rules", {"security_group_rule": {"security_group_id": ABSENT}}, 400),
    ],
    ids=[
        "wrong boolean",
        "wrong type",
        "unknown attribute",
        "one of a bulk is wrong",
        "absent network of a subnet",
        "overlapping subnet",
        "absent network of a port",
        "exhausted pool",
        "exhausted pool in a bulk",
        "absent security group",
        "missing attribute",
    ],
)
def test_request_that_cannot_be_is_refused_and_nothing_is_half_done(
    site: tuple[Served, str], path: str, one: dict[str, Any], status: int
) -> None:
    server, network = site
    for given in one.values():
        for fields in given if isinstance(given, list) else [given]:
            if fields.get("network_id") == "":
                fields["network_id"] = network
    before = revision(server)
    answer = post(server, path, one)
    assert answer.status_code == status, answer.text
    assert set(answer.json()["NeutronError"]) == {"type", "message", "detail"}
    assert revision(server) == before
