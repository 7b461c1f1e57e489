# SPDX-License-Identifier: Apache-2.0
"""Trunks over REST: what is refused, where subports are bound, and how they are seen to fare."""

from pathlib import Path
from typing import Any

import pytest

from alcor.features.binding.model import PORT_BINDING
from alcor.features.port.goal import port_row
from alcor.features.port.model import PORT
from alcor.features.port.rules import on_reports
from alcor.goal.declare import Report
from tests.features.door import Door, open_door

TRUNKS = "/v2.0/trunks"


@pytest.fixture
async def ports(api: Door, net: dict[str, Any]) -> list[str]:
    return [port["id"] for port in await api.create_many("port", [{"network_id": net["id"]}] * 4)]


def sub(port_id: str, tag: int) -> dict[str, Any]:
    return {"port_id": port_id, "segmentation_type": "vlan", "segmentation_id": tag}


async def act(api: Door, trunk: dict[str, Any], action: str, *subs: dict[str, Any]) -> dict[str, Any]:
    status, answer = await api.ask("PUT", f"{TRUNKS}/{trunk['id']}/{action}", {"sub_ports": list(subs)})
    assert status == 200, answer
    return answer


async def realise(api: Door, host: str, *ports: str, is_realised: bool = True) -> None:
    reports = [Report(port, api.generation(port), is_realised) for port in ports]
    await api.store.submit(lambda txn: on_reports(txn, host, reports))


async def test_trunk_is_made_shown_changed_and_deleted(api: Door, ports: list[str]) -> None:
    trunk = await api.create("trunk", port_id=ports[0], name="t", sub_ports=[sub(ports[1], 100)])
    assert trunk["sub_ports"] == [sub(ports[1], 100)]
    assert (trunk["status"], trunk["admin_state_up"], trunk["tags"]) == ("DOWN", True, [])
    assert (await api.update("trunk", trunk["id"], name="other"))["name"] == "other"
    assert [one["id"] for one in await api.list("trunks", port_id=ports[0])] == [trunk["id"]]
    await api.delete("trunk", trunk["id"])
    for port in ports[:2]:
        assert (await api.show("port", port))["device_owner"] == ""
        await api.delete("port", port)


async def test_subports_are_added_listed_and_removed(api: Door, ports: list[str]) -> None:
    trunk = await api.create("trunk", port_id=ports[0])
    assert trunk["sub_ports"] == []
    answer = await act(api, trunk, "add_subports", sub(ports[1], 100), sub(ports[2], 200))
    assert answer["sub_ports"] == [sub(ports[1], 100), sub(ports[2], 200)]
    assert answer.keys() == (await api.show("trunk", trunk["id"])).keys()
    assert (await api.show("port", ports[1]))["device_owner"] == "trunk:subport"
    answer = await act(api, trunk, "remove_subports", {"port_id": ports[1]})
    assert answer["sub_ports"] == [sub(ports[2], 200)]
    status, answer = await api.ask("GET", f"{TRUNKS}/{trunk['id']}/get_subports")
    assert (status, answer) == (200, {"sub_ports": [sub(ports[2], 200)]})
    assert answer["sub_ports"] == (await api.show("trunk", trunk["id"]))["sub_ports"]


async def test_port_of_a_trunk_tells_its_details(api: Door, ports: list[str]) -> None:
    trunk = await api.create("trunk", port_id=ports[0], sub_ports=[sub(ports[1], 100)])
    mac = (await api.show("port", ports[1]))["mac_address"]
    details = {"trunk_id": trunk["id"], "sub_ports": [{**sub(ports[1], 100), "mac_address": mac}]}
    assert (await api.show("port", ports[0]))["trunk_details"] == details
    assert "trunk_details" not in await api.show("port", ports[1])
    told = {port["id"]: port.get("trunk_details") for port in await api.list("ports")}
    assert told == {ports[0]: details, ports[1]: None, ports[2]: None, ports[3]: None}


@pytest.mark.parametrize(
    "sub_ports",
    [
        {"port_id": "x"},
        ["x"],
        [{"segmentation_type": "vlan", "segmentation_id": 1}],
        [{"port_id": "x", "segmentation_type": "vlan", "segmentation_id": 1}],
        [{"port_id": 1}],
        [{"port_id": 1, "segmentation_type": "vlan"}],
        [{"port_id": 1, "segmentation_id": 100}],
        [{"port_id": 1, "segmentation_type": "vlan", "segmentation_id": 0}],
        [{"port_id": 1, "segmentation_type": "vlan", "segmentation_id": 4095}],
        [{"port_id": 1, "segmentation_type": "vlan", "segmentation_id": "many"}],
        [{"port_id": 1, "segmentation_type": "vxlan", "segmentation_id": 7}],
        [{"port_id": 1, "segmentation_type": "inherit"}],
        [sub("1", 100), sub("1", 200)],
        [sub("1", 100), sub("2", 100)],
    ],
)
async def test_subports_that_make_no_sense_are_refused(api: Door, ports: list[str], sub_ports: Any) -> None:
    if isinstance(sub_ports, list):
        for entry in sub_ports:
            if isinstance(entry, dict) and str(entry.get("port_id")) in "12":
                entry["port_id"] = ports[int(entry["port_id"])]
    trunk = await api.create("trunk", port_id=ports[0])
    await api.refused("PUT", f"{TRUNKS}/{trunk['id']}/add_subports", {"sub_ports": sub_ports}, 400)
    await api.refused("POST", TRUNKS, {"trunk": {"port_id": ports[3], "sub_ports": sub_ports}}, 400)
    assert (await api.show("trunk", trunk["id"]))["sub_ports"] == []


async def test_port_is_of_one_trunk_only(api: Door, net: dict[str, Any], ports: list[str]) -> None:
    parent, member, other, free = ports
    trunk = await api.create("trunk", port_id=parent, sub_ports=[sub(member, 100)])
    second = await api.create("trunk", port_id=other)
    add = f"{TRUNKS}/{second['id']}/add_subports"
    used = await api.create("port", network_id=net["id"], device_id="vm")
    for port, kind in (
        (member, "TrunkPortInUse"),
        (parent, "ParentPortInUse"),
        (other, "ParentPortInUse"),
        (used["id"], "PortInUse"),
    ):
        assert (await api.refused("PUT", add, {"sub_ports": [sub(port, 100)]}, 409))["type"] == kind
    for port, kind in ((parent, "ParentPortInUse"), (member, "TrunkPortInUse")):
        assert (await api.refused("POST", TRUNKS, {"trunk": {"port_id": port}}, 409))["type"] == kind
    again = await api.refused(
        "PUT", f"{TRUNKS}/{trunk['id']}/add_subports", {"sub_ports": [sub(free, 100)]}, 409
    )
    assert again["type"] == "DuplicateSubPort"


async def test_ports_of_a_trunk_are_not_deleted(api: Door, ports: list[str]) -> None:
    await api.create("trunk", port_id=ports[0], sub_ports=[sub(ports[1], 100)])
    for port, kind in ((ports[0], "PortInUseAsTrunkParent"), (ports[1], "PortInUseAsSubPort")):
        assert (await api.refused("DELETE", f"/v2.0/ports/{port}", None, 409))["type"] == kind


async def test_trunk_that_is_down_does_not_change(api: Door, ports: list[str]) -> None:
    trunk = await api.create("trunk", port_id=ports[0], sub_ports=[sub(ports[1], 100)], admin_state_up=False)
    url = f"{TRUNKS}/{trunk['id']}"
    for method, path, body in (
        ("PUT", f"{url}/add_subports", {"sub_ports": [sub(ports[2], 200)]}),
        ("PUT", f"{url}/remove_subports", {"sub_ports": [{"port_id": ports[1]}]}),
        ("DELETE", url, None),
    ):
        assert (await api.refused(method, path, body, 409))["type"] == "TrunkDisabled"


async def test_what_is_not_there_is_not_found(api: Door, ports: list[str]) -> None:
    nowhere = "99999999-9999-4999-8999-999999999999"
    trunk = await api.create("trunk", port_id=ports[0])
    url = f"{TRUNKS}/{trunk['id']}"
    refused = await api.refused("POST", TRUNKS, {"trunk": {"port_id": nowhere}}, 404)
    assert refused["type"] == "PortNotFound"
    refused = await api.refused("PUT", f"{url}/add_subports", {"sub_ports": [sub(nowhere, 100)]}, 404)
    assert refused["type"] == "PortNotFound"
    refused = await api.refused("PUT", f"{url}/remove_subports", {"sub_ports": [{"port_id": ports[1]}]}, 404)
    assert refused["type"] == "SubPortNotFound"
    await api.refused("PUT", f"{url}/remove_subports", {"sub_ports": {"port_id": ports[1]}}, 400)
    refused = await api.refused("PUT", f"{TRUNKS}/{nowhere}/add_subports", {"sub_ports": []}, 404)
    assert refused["type"] == "TrunkNotFound"


async def test_subport_has_no_larger_mtu(api: Door, ports: list[str]) -> None:
    small = await api.create("network", mtu=1300)
    parent = await api.create("port", network_id=small["id"])
    body = {"trunk": {"port_id": parent["id"], "sub_ports": [sub(ports[0], 100)]}}
    refused = await api.refused("POST", TRUNKS, body, 409)
    assert refused["type"] == "SubPortMtuGreaterThanTrunkPortMtu"


async def test_tag_is_inherited_from_a_vlan_network(tmp_path: Path) -> None:
    async with open_door(tmp_path, network_vlan_ranges=(("physnet", 70, 80),)) as api:
        plain = await api.create("network")
        given = {"network_type": "vlan", "physical_network": "physnet", "segmentation_id": 77}
        provided = {f"provider:{name}": value for name, value in given.items()}
        network = await api.create("network", mtu=1400, **provided)
        parent = await api.create("port", network_id=plain["id"])
        port = await api.create("port", network_id=network["id"])
        asked = {"port_id": port["id"], "segmentation_type": "inherit"}
        trunk = await api.create("trunk", port_id=parent["id"], sub_ports=[asked])
        assert trunk["sub_ports"] == [sub(port["id"], 77)]


async def test_subports_are_bound_where_their_trunk_s_port_is(api: Door, ports: list[str]) -> None:
    await api.register_host("one")
    await api.register_host("two")
    await api.update("port", ports[0], **{"binding:host_id": "one"})
    trunk = await api.create("trunk", port_id=ports[0], sub_ports=[sub(ports[1], 100)])
    await act(api, trunk, "add_subports", sub(ports[2], 200))

    async def hosts() -> list[str]:
        return [(await api.show("port", port))["binding:host_id"] for port in ports[:3]]

    assert await hosts() == ["one"] * 3
    rows = [port_row(api.store.tables.get(PORT, port)) for port in ports[:3]]
    assert [(row.trunk_port, row.vlan) for row in rows] == [("", 0), (ports[0], 100), (ports[0], 200)]
    numbers = {row.number for row in rows[1:]}
    assert len(numbers) == 2
    assert all(0x8000 <= number <= 0xFEFF for number in numbers)

    await api.update("port", ports[0], **{"binding:host_id": "two"})
    assert await hosts() == ["two"] * 3
    elsewhere = {"port": {"binding:host_id": "one"}}
    assert (await api.refused("PUT", f"/v2.0/ports/{ports[1]}", elsewhere, 409))[
        "type"
    ] == "PortInUseAsSubPort"

    await act(api, trunk, "remove_subports", {"port_id": ports[2]})
    assert await hosts() == ["two", "two", ""]
    await api.update("port", ports[0], **{"binding:host_id": ""})
    assert await hosts() == ["", "", ""]


async def test_subports_move_with_their_trunk_s_port(
    api: Door, net: dict[str, Any], ports: list[str]
) -> None:
    await api.register_host("one")
    await api.register_host("two")
    owned = {"device_owner": "compute:nova", "binding:host_id": "one"}
    parent = (await api.create("port", network_id=net["id"], **owned))["id"]
    await api.create("trunk", port_id=parent, sub_ports=[sub(ports[1], 100)])
    bindings = f"/v2.0/ports/{parent}/bindings"
    assert (await api.ask("POST", bindings, {"binding": {"host": "two"}}))[0] == 201
    assert (await api.ask("PUT", f"{bindings}/two/activate"))[0] == 200
    assert (await api.show("port", ports[1]))["binding:host_id"] == "two"


async def test_subports_wait_where_their_trunk_s_port_waits(
    api: Door, net: dict[str, Any], ports: list[str]
) -> None:
    for host in ("one", "two", "three"):
        await api.register_host(host)
    owned = {"device_owner": "compute:nova", "binding:host_id": "one"}
    parent = (await api.create("port", network_id=net["id"], **owned))["id"]
    trunk = await api.create("trunk", port_id=parent, sub_ports=[sub(ports[1], 100)])
    bindings = f"/v2.0/ports/{parent}/bindings"

    def waiting() -> set[tuple[str, str]]:
        found = api.store.tables.scan(PORT_BINDING)
        rows = {(each.port_id, each.host) for each in found if each.port_id != parent}
        for port in ports:
            numbers = api.store.tables.get(PORT, port).waiting_numbers
            assert {host for host, _ in numbers} == {host for each, host in rows if each == port}
            assert all(0x8000 <= number <= 0xFEFF for _, number in numbers)
        return rows

    for host in ("two", "three"):
        assert (await api.ask("POST", bindings, {"binding": {"host": host}}))[0] == 201
    assert waiting() == {(ports[1], "two"), (ports[1], "three")}
    await act(api, trunk, "add_subports", sub(ports[2], 200))
    assert waiting() == {(port, host) for port in ports[1:3] for host in ("two", "three")}
    assert (await api.ask("DELETE", f"{bindings}/three"))[0] == 204
    assert waiting() == {(ports[1], "two"), (ports[2], "two")}
    await act(api, trunk, "remove_subports", {"port_id": ports[2]})
    assert waiting() == {(ports[1], "two")}
    await api.update("port", ports[2], **{"binding:host_id": "two"})

    before = api.store.tables.get(PORT, ports[1])
    assert (await api.ask("PUT", f"{bindings}/two/activate"))[0] == 200
    after = api.store.tables.get(PORT, ports[1])
    assert waiting() == {(ports[1], "one")}
    assert (after.host, after.number) == ("two", dict(before.waiting_numbers)["two"])
    assert dict(after.waiting_numbers) == {"one": before.number}

    await api.delete("trunk", trunk["id"])
    assert waiting() == set()
    await api.create("trunk", port_id=parent, sub_ports=[sub(ports[3], 7)])
    assert waiting() == {(ports[3], "one")}


async def test_port_with_a_subport_that_a_host_cannot_carry_does_not_wait_there(
    api: Door, net: dict[str, Any], ports: list[str]
) -> None:
    for host, mappings in (("one", {"phys": "br-phys"}), ("two", {})):
        await api.register_host(host, mappings=mappings)
    flat = {"provider:network_type": "flat", "provider:physical_network": "phys"}
    network = await api.create("network", mtu=1400, **flat)
    below = await api.create("port", network_id=network["id"])
    owned = {"device_owner": "compute:nova", "binding:host_id": "one"}
    parent = (await api.create("port", network_id=net["id"], **owned))["id"]
    await api.create("trunk", port_id=parent, sub_ports=[sub(below["id"], 100)])
    body = {"binding": {"host": "two"}}
    error = await api.refused("POST", f"/v2.0/ports/{parent}/bindings", body, 409)
    assert error["type"] == "PortBindingError"
    assert below["id"] in error["message"]


async def test_port_that_no_switch_carries_is_no_trunk_s(api: Door, ports: list[str]) -> None:
    await api.update("port", ports[0], **{"binding:host_id": "nowhere"})
    assert (await api.refused("POST", TRUNKS, {"trunk": {"port_id": ports[0]}}, 409))[
        "type"
    ] == "ParentPortInUse"


async def test_trunk_and_subports_have_the_status_that_their_host_sees(api: Door, ports: list[str]) -> None:
    await api.register_host("one")
    await api.update("port", ports[0], **{"binding:host_id": "one"})
    trunk = await api.create("trunk", port_id=ports[0], sub_ports=[sub(ports[1], 100), sub(ports[2], 200)])

    async def status() -> str:
        return (await api.show("trunk", trunk["id"]))["status"]

    assert await status() == "DOWN"
    await realise(api, "one", ports[0])
    assert await status() == "BUILD"
    await realise(api, "one", ports[1], ports[2])
    assert await status() == "ACTIVE"
    assert (await api.show("port", ports[1]))["status"] == "ACTIVE"
    await realise(api, "one", ports[2], is_realised=False)
    assert await status() == "DEGRADED"
    await api.update("port", ports[2], admin_state_up=False)
    assert await status() == "ACTIVE", "what is to be down holds up nothing"
    await api.update("port", ports[0], **{"binding:host_id": ""})
    assert await status() == "DOWN"


async def test_other_projects_see_neither_trunk_nor_port(api: Door, ports: list[str]) -> None:
    trunk = await api.create("trunk", port_id=ports[0])
    await api.refused("GET", f"{TRUNKS}/{trunk['id']}", None, 404, as_project="other")
    await api.refused("POST", TRUNKS, {"trunk": {"port_id": ports[1]}}, 404, as_project="other")
