# SPDX-License-Identifier: Apache-2.0
"""Bindings of a port over REST, as Nova uses them when it migrates a machine."""

from typing import Any

import pytest

from alcor.features.binding.model import PORT_BINDING, PORT_MOVE
from alcor.features.binding.rules import is_due, on_due, on_reports
from alcor.features.port.rules import on_reports as on_port_reports
from alcor.goal.declare import Report
from tests.features.door import Door

NOVA = {"X-Project-Id": "nova", "X-Roles": "admin,service"}


@pytest.fixture
async def port(api: Door, net: dict[str, Any]) -> dict[str, Any]:
    """Of a machine on host one; host two is there, too."""
    await api.register_host("one", "10.99.0.1")
    await api.register_host("two", "10.99.0.2")
    fields = {"device_owner": "compute:nova", "binding:host_id": "one", "binding:profile": {"a": 1}}
    return await api.create("port", network_id=net["id"], **fields)


class Bindings:
    """The bindings of one port."""

    def __init__(self, api: Door, port: dict[str, Any]) -> None:
        self.api = api
        self.url = f"/v2.0/ports/{port['id']}/bindings"

    async def ask(self, method: str, tail: str = "", **binding: Any) -> Any:
        body = {"binding": binding} if binding else None
        status, answer = await self.api.ask(method, f"{self.url}{tail}", body, headers=NOVA)
        assert status == {"POST": 201, "DELETE": 204}.get(method, 200), answer
        return answer

    async def refused(self, method: str, tail: str, status: int, **binding: Any) -> dict[str, str]:
        body = {"binding": binding} if binding else None
        return await self.api.refused(method, f"{self.url}{tail}", body, status, headers=NOVA)


async def test_second_binding_waits_beside_the_active_one(api: Door, port: dict[str, Any]) -> None:
    bindings = Bindings(api, port)
    made = (await bindings.ask("POST", host="two", profile={"migrating_to": "two"}))["binding"]
    assert made == {
        "host": "two",
        "vif_type": "ovs",
        "vnic_type": "normal",
        "status": "INACTIVE",
        "profile": {"migrating_to": "two"},
        "vif_details": port["binding:vif_details"],
    }
    both = (await bindings.ask("GET"))["bindings"]
    assert [(one["host"], one["status"]) for one in both] == [("one", "ACTIVE"), ("two", "INACTIVE")]
    assert both[0]["profile"] == {"a": 1}
    assert (await bindings.ask("GET", "/two"))["binding"] == made
    assert (await bindings.ask("GET", "?status=INACTIVE"))["bindings"] == [made]
    shown = await api.show("port", port["id"])
    assert shown["binding:host_id"] == "one"


async def test_activation_moves_the_port_and_its_status_at_once(api: Door, port: dict[str, Any]) -> None:
    bindings = Bindings(api, port)
    first = api.generation(port["id"])
    await api.store.submit(lambda txn: on_port_reports(txn, "one", [Report(port["id"], first, True)]))
    await bindings.ask("POST", host="two")
    [waiting] = api.store.tables.scan(PORT_BINDING)
    for wrong in (("one", waiting.generation), ("two", first)):
        stale = Report(port["id"], wrong[1], True)
        await api.store.submit(lambda txn, host=wrong[0], said=stale: on_reports(txn, host, [said]))
    ready = Report(port["id"], waiting.generation, True)
    await api.store.submit(lambda txn: on_reports(txn, "two", [ready]))
    assert (await api.show("port", port["id"]))["status"] == "ACTIVE"

    active = await bindings.ask("PUT", "/two/activate")
    assert (active["host"], active["status"]) == ("two", "ACTIVE")
    shown = await api.show("port", port["id"])
    assert (shown["binding:host_id"], shown["status"]) == ("two", "ACTIVE")
    assert shown["revision_number"] == port["revision_number"] + 1
    both = (await bindings.ask("GET"))["bindings"]
    assert [(one["host"], one["status"]) for one in both] == [("two", "ACTIVE"), ("one", "INACTIVE")]
    await bindings.ask("DELETE", "/one")
    assert len((await bindings.ask("GET"))["bindings"]) == 1


async def test_activation_of_what_no_host_has_realised_leaves_the_port_down(
    api: Door, port: dict[str, Any]
) -> None:
    bindings = Bindings(api, port)
    await bindings.ask("POST", host="two")
    await bindings.ask("PUT", "/two/activate")
    assert (await api.show("port", port["id"]))["status"] == "DOWN"


async def test_move_is_forgotten_after_a_minute_and_with_its_port(api: Door, port: dict[str, Any]) -> None:
    bindings = Bindings(api, port)
    await bindings.ask("POST", host="two")
    await bindings.ask("PUT", "/two/activate")
    await bindings.ask("PUT", "/one/activate")
    await bindings.ask("PUT", "/two/activate")
    moves = list(api.store.tables.scan(PORT_MOVE))
    assert {move.host for move in moves} == {"one", "two"}
    now = moves[0].moved_at
    assert not is_due(api.store.tables, now)
    later = f"{int(now[:4]) + 1}{now[4:]}"
    assert is_due(api.store.tables, later)
    await api.store.submit(lambda txn: on_due(txn, now))
    assert len(list(api.store.tables.scan(PORT_MOVE))) == 2
    await api.store.submit(lambda txn: on_due(txn, later))
    assert not list(api.store.tables.scan(PORT_MOVE))
    await bindings.ask("PUT", "/one/activate")
    await api.delete("port", port["id"])
    assert not list(api.store.tables.scan(PORT_MOVE))
    assert not list(api.store.tables.scan(PORT_BINDING))


async def test_profile_of_either_binding_can_be_changed(api: Door, port: dict[str, Any]) -> None:
    bindings = Bindings(api, port)
    await bindings.ask("POST", host="two")
    assert (await bindings.ask("PUT", "/two", profile={"b": 2}))["binding"]["profile"] == {"b": 2}
    assert (await bindings.ask("PUT", "/two", profile=None))["binding"]["profile"] == {}
    before = api.generation(port["id"])
    assert (await bindings.ask("PUT", "/one", profile={"c": 3}))["binding"]["profile"] == {"c": 3}
    assert api.generation(port["id"]) > before
    assert (await api.show("port", port["id"]))["binding:profile"] == {"c": 3}
    unchanged = api.generation(port["id"])
    assert (await bindings.ask("PUT", "/one", profile={"c": 3}))["binding"]["profile"] == {"c": 3}
    assert api.generation(port["id"]) == unchanged


async def test_port_whose_active_binding_goes_is_unbound(api: Door, port: dict[str, Any]) -> None:
    bindings = Bindings(api, port)
    await bindings.ask("DELETE", "/one")
    shown = await api.show("port", port["id"])
    assert (shown["binding:host_id"], shown["binding:vif_type"]) == ("", "unbound")


async def test_binding_that_neutron_refuses_is_refused(api: Door, port: dict[str, Any]) -> None:
    bindings = Bindings(api, port)
    await bindings.ask("POST", host="two")
    seen = [
        await bindings.refused("POST", "", 409, host="two"),
        await bindings.refused("POST", "", 409, host="one"),
        await bindings.refused("POST", "", 409, host="nowhere"),
        await bindings.refused("GET", "/nowhere", 404),
        await bindings.refused("DELETE", "/nowhere", 404),
        await bindings.refused("PUT", "/one/activate", 409),
        await bindings.refused("PUT", "/nowhere/activate", 404),
    ]
    assert [refusal["type"] for refusal in seen] == [
        "PortBindingAlreadyExists",
        "PortBindingAlreadyExists",
        "PortBindingError",
        "PortBindingNotFound",
        "PortBindingNotFound",
        "PortBindingAlreadyActive",
        "PortBindingNotFound",
    ]
    assert "host" in (await bindings.refused("POST", "", 400, profile={}))["message"]
    assert (
        "sideways" in (await bindings.refused("POST", "", 400, host="two", vnic_type="sideways"))["message"]
    )
    await bindings.refused("POST", "", 400, host=7)
    await bindings.refused("POST", "", 400)
    await bindings.refused("PUT", "/two", 400, host="one")
    await bindings.refused("PUT", "/one", 409, vnic_type="direct")
    await bindings.refused("PUT", "/two", 409, vnic_type="direct")


async def test_port_is_not_bound_where_a_binding_waits(api: Door, port: dict[str, Any]) -> None:
    await Bindings(api, port).ask("POST", host="two")
    body = {"port": {"binding:host_id": "two"}}
    refusal = await api.refused("PUT", f"/v2.0/ports/{port['id']}", body, 409)
    assert refusal["type"] == "PortBindingAlreadyExists"


async def test_only_services_bind_and_only_ports_of_machines(api: Door, net: dict[str, Any]) -> None:
    await api.register_host("one")
    plain = await api.create("port", network_id=net["id"])
    assert (await Bindings(api, plain).refused("POST", "", 400, host="one"))["type"] == "BadRequest"
    url = f"/v2.0/ports/{plain['id']}/bindings"
    await api.refused("POST", url, {"binding": {"host": "one"}}, 404, as_project="stranger")
    mine = {"X-Project-Id": plain["project_id"], "X-Roles": "member"}
    await api.refused("POST", url, {"binding": {"host": "one"}}, 403, headers=mine)


async def test_bindings_are_listed_by_what_is_asked_for(api: Door, port: dict[str, Any]) -> None:
    bindings = Bindings(api, port)
    await bindings.ask("POST", host="two")
    listed = await bindings.ask("GET", "?fields=host&fields=status")
    assert listed["bindings"] == [
        {"host": "one", "status": "ACTIVE"},
        {"host": "two", "status": "INACTIVE"},
    ]
    assert (await bindings.ask("GET", "?host=two&fields=host"))["bindings"] == [{"host": "two"}]
    await bindings.refused("GET", "?nosuch=1", 400)
