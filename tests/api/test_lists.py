# SPDX-License-Identifier: Apache-2.0
"""Filters, order and pages of lists."""

import asyncio
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.api.world import Api


@pytest.fixture
async def ports(api: Api) -> list[dict[str, Any]]:
    """Three ports on one subnet."""
    network = await api.make("network", name="n")
    await api.make("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
    return [
        await api.make("port", network_id=network["id"], name=name, **more)
        for name, more in (
            ("a", {"device_id": "vm1", "fixed_ips": [{"ip_address": "10.0.0.10"}]}),
            ("b", {"device_id": "vm2", "admin_state_up": False, "fixed_ips": [{"ip_address": "10.0.0.20"}]}),
            ("c", {"description": "third", "fixed_ips": [{"ip_address": "10.0.0.110"}]}),
        )
    ]


async def test_filter_by_any_visible_attribute(api: Api, ports):
    first = ports[0]
    for query, expected in (
        (f"id={first['id']}", "a"),
        (f"id={first['id']}&id={ports[2]['id']}", "ac"),
        ("name=b", "b"),
        ("name=a&name=b", "ab"),
        ("name=a&device_id=vm2", ""),
        ("name=zorp", ""),
        ("device_id=vm1", "a"),
        ("device_id=vm1&device_id=vm2", "ab"),
        ("description=third", "c"),
        (f"mac_address={first['mac_address']}", "a"),
        (f"mac_address={first['mac_address'].upper()}", "a"),
        (f"network_id={first['network_id']}", "abc"),
        (f"network_id={first['network_id']}&name=c", "c"),
        ("network_id=none", ""),
        ("status=DOWN", "abc"),
        ("status=ACTIVE", ""),
        ("admin_state_up=False", "b"),
        ("admin_state_up=true&name=a", "a"),
        ("revision_number=1", "abc"),
        ("binding:host_id=", "abc"),
        (f"project_id={first['project_id']}", "abc"),
        (f"tenant_id={first['project_id']}", "abc"),
        ("tenant_id=other", ""),
        (f"security_groups={first['security_groups'][0]}", "abc"),
        ("security_groups=none", ""),
    ):
        assert sorted(await api.names(f"ports?{query}")) == list(expected), query


async def test_filter_by_fixed_ips(api: Api, ports):
    subnet = ports[0]["fixed_ips"][0]["subnet_id"]
    for query, expected in (
        ("fixed_ips=ip_address%3D10.0.0.10", "a"),
        ("fixed_ips=ip_address=10.0.0.10&fixed_ips=ip_address=10.0.0.20", "ab"),
        ("fixed_ips=ip_address_substr=0.1", "ac"),
        (f"fixed_ips=subnet_id={subnet}", "abc"),
        (f"fixed_ips=subnet_id={subnet}&fixed_ips=ip_address=10.0.0.20", "b"),
        (f"fixed_ips=ip_address=10.0.0.20&fixed_ips=subnet_id={ports[0]['id']}", ""),
        ("fixed_ips=ip_address=10.9.9.9", ""),
    ):
        assert sorted(await api.names(f"ports?{query}")) == list(expected), query


async def test_empty_text_is_a_filter_too(api: Api, ports):
    assert await api.names("ports?device_id=") == ["c"]
    assert sorted(await api.names("ports?device_id=&device_id=vm1")) == ["a", "c"]
    assert await api.names("subnets?gateway_ip=") == []


async def test_unknown_filter_is_refused_by_name(api: Api):
    assert await api.refusal("GET", "ports?bogus=1&name=a&fixed=2") == (
        400,
        "HTTPBadRequest",
        "['bogus', 'fixed'] is invalid attribute for filtering",
    )


async def test_filter_with_a_value_that_the_type_does_not_have_is_refused_where_neutron_converts(api: Api):
    assert (await api.refusal("GET", "ports?admin_state_up=perhaps"))[0] == 400
    assert (await api.refusal("GET", "subnets?ip_version=four"))[0] == 400
    assert await api.names("ports?mac_address=nonsense") == []


async def test_changed_since_lists_what_changed_then_or_later(api: Api, ports):
    assert len(await api.names(f"ports?changed_since={ports[0]['updated_at']}")) == 3
    assert await api.names("ports?changed_since=2999-01-01T00:00:00Z") == []
    changed = ports[0]["updated_at"].removesuffix("Z")
    for moment in (f"{changed}.000%2B00:00", f"{changed}-00:01", "2026-01-01", "2026-01-01 00:00:00"):
        found = await api.names(f"ports?changed_since={moment}")
        assert len(found) == (0 if moment.endswith("-00:01") else 3), moment


@pytest.mark.parametrize("moment", ["yesterday", "", "2026-13-45T99:99:99Z"])
async def test_moment_that_is_none_is_refused_in_neutrons_words(api: Api, ports, moment):
    status, kind, message = await api.refusal("GET", f"ports?changed_since={moment}")
    assert (status, kind) == (400, "InvalidInput")
    assert "The input changed_since must be in the following format: YYYY-MM-DDTHH:MM:SSZ" in message


async def test_sorting_by_keys_and_directions(api: Api):
    for name, description in (("b", "x"), ("a", "y"), ("c", "x"), ("d", "y")):
        await api.make("network", name=name, description=description)
    assert await api.names("networks?sort_key=name&sort_dir=asc") == ["a", "b", "c", "d"]
    assert await api.names("networks?sort_key=name&sort_dir=desc") == ["d", "c", "b", "a"]
    mixed = "networks?sort_key=description&sort_dir=desc&sort_key=name&sort_dir=asc"
    assert await api.names(mixed) == ["a", "d", "b", "c"]
    assert await api.names(mixed + "&limit=3") == ["a", "d", "b"]


async def test_null_sorts_before_every_value(api: Api):
    network = await api.make("network")
    given = {"network_id": network["id"], "ip_version": 4}
    await api.make("subnet", name="one", cidr="10.0.0.0/24", **given)
    await api.make("subnet", name="none", cidr="10.0.1.0/24", gateway_ip=None, **given)
    assert await api.names("subnets?sort_key=gateway_ip&sort_dir=asc") == ["none", "one"]
    assert await api.names("subnets?sort_key=gateway_ip&sort_dir=desc") == ["one", "none"]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("sort_key=name", "The number of sort_keys and sort_dirs must be same"),
        (
            "sort_key=name&sort_dir=up",
            "['up'] is invalid value for sort_dirs, valid value is 'asc' and 'desc'",
        ),
        ("sort_key=zorp&sort_dir=asc", "['zorp'] is invalid attribute for sort_keys"),
        ("sort_key=fixed_ips&sort_dir=asc", "['fixed_ips'] is invalid attribute for sort_keys"),
        ("limit=x", "Bad limit request: Limit must be an integer 0 or greater and not 'x'."),
        ("limit=-1", "Bad limit request: Limit must be an integer 0 or greater and not '-1'."),
    ],
)
async def test_order_or_page_that_means_nothing_is_refused(api: Api, query: str, message: str):
    status, _, said = await api.refusal("GET", f"ports?{query}")
    assert (status, said) == (400, message)


async def follow(api: Api, path: str, rel: str = "next") -> list[list[str]]:
    """The names of each page from `path` on, along the links."""
    pages = []
    while path:
        answer = (await api.get(path)).json()
        pages.append([network["name"] for network in answer["networks"]])
        links = {link["rel"]: link["href"] for link in answer.get("networks_links", [])}
        url = urlsplit(links[rel]) if rel in links else None
        assert url is None or url.netloc == "api.test"
        path = f"{url.path.removeprefix('/v2.0/')}?{url.query}" if url and len(pages) < 20 else ""
    return pages


@pytest.mark.parametrize("order", ["", "&sort_key=name&sort_dir=desc", "&sort_key=id&sort_dir=desc"])
async def test_pages_along_the_links_are_the_whole_list(api: Api, order: str):
    await api.call("POST", "networks", {"networks": [{"name": f"n{place}"} for place in range(7)]})
    whole = await api.names(f"networks?limit=100{order}")
    pages = await follow(api, f"networks?limit=3{order}")
    assert [len(page) for page in pages] == [3, 3, 1]
    assert list(chain(*pages)) == whole

    back = await follow(api, f"networks?limit=3&page_reverse=True{order}", rel="previous")
    assert [len(page) for page in back] == [3, 3, 1]
    assert list(chain(*reversed(back))) == whole


async def test_page_has_links_to_its_neighbours_that_keep_the_query(api: Api):
    await api.call("POST", "networks", {"networks": [{"name": "n"}] * 3})
    answer = (await api.get("networks?limit=2&name=n&fields=id")).json()
    ids = [network["id"] for network in answer["networks"]]
    links = {link["rel"]: dict(parse_qsl(urlsplit(link["href"]).query)) for link in answer["networks_links"]}
    assert links["next"] == {"limit": "2", "name": "n", "fields": "id", "marker": ids[-1]}
    assert links["previous"] == {
        "limit": "2",
        "name": "n",
        "fields": "id",
        "marker": ids[0],
        "page_reverse": "True",
    }
    last = (await api.get(f"networks?limit=2&marker={ids[-1]}")).json()
    assert [link["rel"] for link in last["networks_links"]] == ["previous"]
    assert "networks_links" not in (await api.get("networks")).json()


async def test_marker_that_is_not_there_or_not_seen_is_404(api: Api):
    theirs = await api.make("network", project="p1")
    assert (await api.refusal("GET", "networks?limit=2&marker=none"))[:2] == (404, "NetworkNotFound")
    refused = await api.refusal(
        "GET", f"networks?limit=2&marker={theirs['id']}", project="p2", roles="reader"
    )
    assert refused[0] == 404
    assert await api.names("networks?marker=none") == [""], "a marker without a limit means nothing"


async def test_page_is_never_longer_than_the_setting(start):
    api = await start(page_max=2)
    await api.call("POST", "networks", {"networks": [{}] * 3})
    for query in ("", "?limit=0", "?limit=50", "?limit=2"):
        assert len((await api.get(f"networks{query}")).json()["networks"]) == 2
    assert len((await api.get("networks?limit=1")).json()["networks"]) == 1
    assert [len(page) for page in await follow(api, "networks")] == [2, 1]


async def test_pages_of_a_project_hold_its_own_and_the_shared_ones(api: Api):
    for place in range(4):
        await api.make("network", name=f"p1-{place}", project="p1", roles="member")
        await api.make("network", name=f"p2-{place}", project="p2", roles="member")
    await api.make("network", name="shared", shared=True)
    seen = [f"p1-{place}" for place in range(4)] + ["shared"]
    listed = await api.names("networks?limit=100&sort_key=name&sort_dir=asc", project="p1", roles="reader")
    assert listed == seen
    listed = await api.names("networks?limit=100", project="p1", roles="reader")
    assert sorted(listed) == seen
    assert len(await api.names("networks?limit=3", project="p1", roles="reader")) == 3


async def test_long_list_is_whole_though_others_write_meanwhile(api: Api):
    network = await api.make("network")
    for _ in range(5):
        many = {"ports": [{"network_id": network["id"], "name": f"{place:04}"} for place in range(600)]}
        assert (await api.call("POST", "ports", many)).status_code == 201

    async def write() -> None:
        for _ in range(20):
            port = await api.make("port", network_id=network["id"], name="later")
            await api.call("DELETE", f"ports/{port['id']}")

    writing = asyncio.create_task(write())
    answer = await api.get("ports")
    ports = answer.json()["ports"]
    assert len(ports) in (3000, 3001)
    assert len({port["id"] for port in ports}) == len(ports)
    assert "content-length" not in answer.headers, "a list this long is sent in chunks"
    ordered = await api.names("ports?sort_key=name&sort_dir=desc&name=0599&name=0001")
    assert ordered == ["0599"] * 5 + ["0001"] * 5
    sorted_all = await api.names("ports?sort_key=name&sort_dir=asc")
    assert [name for name in sorted_all if name != "later"] == [
        f"{place:04}" for place in range(600) for _ in range(5)
    ]
    await writing


async def test_lists_of_whole_tables_wait_for_each_other_and_all_come(start):
    api = await start(scans_max=1)
    network = await api.make("network")
    many = {"ports": [{"network_id": network["id"], "name": "x"}] * 300}
    await api.call("POST", "ports", many)
    answers = await asyncio.gather(*(api.get("ports?description=") for _ in range(8)))
    assert [len(answer.json()["ports"]) for answer in answers] == [300] * 8
