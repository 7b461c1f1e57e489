# SPDX-License-Identifier: Apache-2.0
"""What Nova, DHCP and operators keep with a port: stored, checked and answered as Neutron does."""

from typing import Any

import pytest

from alcor.features.port_attribute.model import PORT_ATTRIBUTES
from alcor.testing.loop import simulate
from alcor.testing.world import World
from tests.features.door import Door

HINTS = {"openvswitch": {"other_config": {"tx-steering": "hash"}}}
OPTION = {"opt_name": "bootfile-name", "opt_value": "pxelinux.0", "ip_version": 4}

# attribute, default, a value, whether PUT takes it
ATTRIBUTES = [
    ("propagate_uplink_status", True, False, True),
    ("device_profile", None, "gpu", False),
    ("numa_affinity_policy", None, "socket", True),
    ("hints", None, HINTS, True),
    ("extra_dhcp_opts", [], [OPTION], True),
    ("hardware_offload_type", None, "switchdev", False),
    ("trusted", None, True, True),
]


async def test_empty_device_profile_is_none(api: Door, net: dict[str, Any]) -> None:
    port = await api.create("port", network_id=net["id"], device_profile="")
    assert port["device_profile"] is None
    assert not list(api.store.tables.scan(PORT_ATTRIBUTES))


async def test_port_has_neutrons_defaults_and_no_row_for_them(api: Door, net: dict[str, Any]) -> None:
    port = await api.create("port", network_id=net["id"])
    for name, default, _, _ in ATTRIBUTES:
        assert port[name] == default, name
    assert port["data_plane_status"] is None
    assert port["ip_allocation"] == "immediate"
    assert not list(api.store.tables.scan(PORT_ATTRIBUTES))


async def test_a_list_answers_every_object_as_its_show_does(api: Door, net: dict[str, Any]) -> None:
    policy = (await api.create("policy", name="p"))["id"]
    plain, parent = [(await api.create("port", network_id=net["id"]))["id"] for _ in "ab"]
    assert await api.list("ports") == [await api.show("port", one) for one in sorted((plain, parent))]
    for given in ({"hints": HINTS}, {"qos_policy_id": policy}, {"dns_name": "www"}, {"fixed_ips": []}):
        await api.create("port", network_id=net["id"], **given)
    await api.create("trunk", port_id=parent)
    listed = await api.list("ports")
    assert len(listed) == 6
    assert listed == [await api.show("port", one["id"]) for one in listed]
    assert ["trunk_details" in one for one in listed].count(True) == 1
    some = await api.list("ports", fields="hints&fields=id&fields=dns_assignment")
    assert some == [{name: one[name] for name in ("id", "hints", "dns_assignment")} for one in listed]


@pytest.mark.parametrize(("name", "default", "value", "is_updatable"), ATTRIBUTES)
async def test_attribute_is_kept_and_answered(
    api: Door, net: dict[str, Any], name: str, default: object, value: object, is_updatable: bool
) -> None:
    made = await api.create("port", network_id=net["id"], **{name: value})
    assert made[name] == value
    assert (await api.show("port", made["id"]))[name] == value
    assert (await api.update("port", made["id"], name="renamed"))[name] == value
    other = await api.create("port", network_id=net["id"])
    if is_updatable:
        assert (await api.update("port", other["id"], **{name: value}))[name] == value
    else:
        body = {"port": {name: value}}
        await api.refused("PUT", f"/v2.0/ports/{other['id']}", body, 400)
    await api.delete("port", made["id"])
    await api.delete("port", other["id"])
    assert not list(api.store.tables.scan(PORT_ATTRIBUTES))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("numa_affinity_policy", "sideways"),
        ("propagate_uplink_status", "perhaps"),
        ("device_profile", "x" * 256),
        ("hardware_offload_type", "magic"),
        ("trusted", "perhaps"),
        ("hints", {"openvswitch": {"other_config": {"tx-steering": "sideways"}}}),
        ("hints", {"linuxbridge": {}}),
        ("hints", "hash"),
        ("data_plane_status", "ACTIVE"),
        ("ip_allocation", "none"),
        ("extra_dhcp_opts", "all"),
        ("extra_dhcp_opts", ["all"]),
        ("extra_dhcp_opts", [{"opt_value": "x"}]),
        ("extra_dhcp_opts", [{"opt_name": "bootfile-name"}]),
        ("extra_dhcp_opts", [{"opt_name": "bootfile-name", "opt_value": ""}]),
        ("extra_dhcp_opts", [{"opt_name": "bootfile-name", "opt_value": "x" * 256}]),
        ("extra_dhcp_opts", [{"opt_name": "n" * 65, "opt_value": "x"}]),
        ("extra_dhcp_opts", [{**OPTION, "ip_version": 5}]),
        ("extra_dhcp_opts", [{**OPTION, "ip_version": "five"}]),
        ("extra_dhcp_opts", [{**OPTION, "color": "red"}]),
        ("extra_dhcp_opts", [OPTION] * 65),
    ],
)
async def test_attribute_that_neutron_refuses_is_refused(
    api: Door, net: dict[str, Any], name: str, value: object
) -> None:
    body = {"port": {"network_id": net["id"], name: value}}
    refusal = await api.refused("POST", "/v2.0/ports", body, 400)
    assert refusal["message"]
    assert not await api.list("ports")


async def test_status_of_the_wire_is_set_by_operators_alone(api: Door, net: dict[str, Any]) -> None:
    port = await api.create("port", network_id=net["id"])
    assert (await api.update("port", port["id"], data_plane_status="DOWN"))["data_plane_status"] == "DOWN"
    assert (await api.update("port", port["id"], data_plane_status=None))["data_plane_status"] is None
    wrong = {"port": {"data_plane_status": "BROKEN"}}
    await api.refused("PUT", f"/v2.0/ports/{port['id']}", wrong, 400)
    allowed = {"port": {"data_plane_status": "ACTIVE"}}
    mine = {"X-Project-Id": port["project_id"], "X-Roles": "member"}
    await api.refused("PUT", f"/v2.0/ports/{port['id']}", allowed, 403, headers=mine)


async def test_dhcp_options_are_merged_by_name_and_version(api: Door, net: dict[str, Any]) -> None:
    six = {**OPTION, "ip_version": 6}
    blank = {"opt_name": "router", "opt_value": ""}
    port = await api.create("port", network_id=net["id"], extra_dhcp_opts=[OPTION, six, blank])
    assert port["extra_dhcp_opts"] == [OPTION, six, {**blank, "ip_version": 4}]

    async def after(*options: dict[str, Any]) -> list[dict[str, Any]]:
        changed = await api.update("port", port["id"], extra_dhcp_opts=list(options))
        return changed["extra_dhcp_opts"]

    assert await after({**OPTION, "opt_value": "other"}) == [
        {**OPTION, "opt_value": "other"},
        six,
        {**blank, "ip_version": 4},
    ]
    assert await after({**six, "opt_value": None}, {**blank, "opt_value": None}) == [
        {**OPTION, "opt_value": "other"}
    ]
    assert len(await after()) == 1, "nothing is asked for"
    assert (await api.update("port", port["id"], extra_dhcp_opts=None))["extra_dhcp_opts"]


async def test_port_without_addresses_on_purpose_says_so(api: Door, net: dict[str, Any]) -> None:
    port = await api.create("port", network_id=net["id"], fixed_ips=[])
    assert port["ip_allocation"] == "none"
    assert (await api.list("ports", ip_allocation="none"))[0]["id"] == port["id"]


async def test_null_mac_is_generated_anew(api: Door, net: dict[str, Any]) -> None:
    port = await api.create("port", network_id=net["id"], mac_address=None)
    first = port["mac_address"]
    assert first.startswith("fa:16:3e:")
    changed = await api.update("port", port["id"], mac_address=None)
    assert changed["mac_address"].startswith("fa:16:3e:")
    assert changed["mac_address"] != first


async def test_nova_is_told_of_trust_and_offload_by_the_profile(api: Door, net: dict[str, Any]) -> None:
    profile = {"capabilities": ["rdma"], "slot": 1}
    fields = {"trusted": False, "hardware_offload_type": "switchdev", "binding:profile": profile}
    port = await api.create("port", network_id=net["id"], **fields)
    told = {"capabilities": ["rdma", "switchdev"], "slot": 1, "trusted": False}
    assert port["binding:profile"] == told
    changed = await api.update("port", port["id"], trusted=True)
    assert changed["binding:profile"] == {**told, "trusted": True}
    replaced = await api.update("port", port["id"], **{"binding:profile": {}})
    assert replaced["binding:profile"]["trusted"] is True


async def test_mac_of_a_physical_device_becomes_the_ports(api: Door, net: dict[str, Any]) -> None:
    device = {"device_mac_address": "52:54:00:00:00:07"}
    port = await api.create("port", network_id=net["id"], **{"binding:vnic_type": "direct-physical"})
    bound = await api.update("port", port["id"], **{"binding:host_id": "one", "binding:profile": device})
    assert bound["mac_address"] == device["device_mac_address"]
    other = {"device_mac_address": "52:54:00:00:00:08"}
    moved = await api.update("port", port["id"], **{"binding:profile": other})
    assert moved["mac_address"] == other["device_mac_address"]

    second = {
        "port": {
            "network_id": net["id"],
            "binding:vnic_type": "direct-physical",
            "binding:host_id": "two",
            "binding:profile": other,
        }
    }
    assert (await api.refused("POST", "/v2.0/ports", second, 409))["type"] == "MacAddressInUse"
    second["port"]["binding:profile"] = {"device_mac_address": "nonsense"}
    await api.refused("POST", "/v2.0/ports", second, 400)
    freed = await api.update("port", port["id"], **{"binding:host_id": "", "binding:profile": {}})
    assert freed["mac_address"].startswith("fa:16:3e:")


async def test_extensions_of_ports_are_told(api: Door) -> None:
    _, answer = await api.ask("GET", "/v2.0/extensions")
    aliases = {extension["alias"] for extension in answer["extensions"]}
    assert {
        "allowed-address-pairs",
        "binding-extended",
        "data-plane-status",
        "extra_dhcp_opt",
        "ip_allocation",
        "port-hint-ovs-tx-steering",
        "port-mac-address-regenerate",
        "uplink-status-propagation-updatable",
    } <= aliases


async def test_no_hint_is_none(api: Door, net: dict[str, Any]) -> None:
    port = await api.create("port", network_id=net["id"], hints={})
    assert port["hints"] is None
    assert not list(api.store.tables.scan(PORT_ATTRIBUTES))


async def _hints_in_the_world() -> None:
    async with World() as world:
        one, two = world.add_host("one"), world.add_host("two")
        network = await world.create("network")
        await world.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
        fields = {"network_id": network["id"], "device_owner": "compute:nova", "hints": HINTS}
        port, _ = await world.boot("one", **fields)
        two.plug(port)
        await world.until_registered("two")
        await world.settle()
        nic = port["id"]
        assert one.interfaces[nic].other_config == (("tx-steering", "hash"),)
        assert two.interfaces[nic].other_config == ()

        status, answer = await world.ask("POST", f"ports/{nic}/bindings", {"binding": {"host": "two"}})
        assert status == 201, answer
        await world.settle()
        assert two.interfaces[nic].other_config == (("tx-steering", "hash"),)
        await world.ask("PUT", f"ports/{nic}/bindings/two/activate")
        await world.ask("DELETE", f"ports/{nic}/bindings/one")
        await world.settle()
        assert one.interfaces[nic].other_config == ()

        await world.update("port", nic, hints=None)
        await world.settle()
        assert two.interfaces[nic].other_config == ()


def test_hints_for_the_switch_are_the_interfaces_on_the_ports_hosts_alone() -> None:
    simulate(_hints_in_the_world())
