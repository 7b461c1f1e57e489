# SPDX-License-Identifier: Apache-2.0
"""Ports over REST: addresses, MACs, groups, binding and status."""

import ipaddress
from typing import Any

import pytest

from alcor.features.port.rules import on_reports
from alcor.goal.declare import Report
from alcor.store.tables import Tables
from tests.features.door import Door


def address_of(port: dict) -> str:
    [fixed] = port["fixed_ips"]
    return fixed["ip_address"]


async def test_port_gets_neutrons_defaults(api: Door, net: dict) -> None:
    port = await api.create("port", network_id=net["id"])
    [group] = await api.list("security-groups", project_id=port["project_id"])

    assert address_of(port) == "10.0.0.2"
    assert port["mac_address"].startswith("fa:16:3e:")
    assert port["status"] == "DOWN"
    assert port["admin_state_up"] is True
    assert port["security_groups"] == [group["id"]]
    assert port["port_security_enabled"] is True
    assert port["binding:host_id"] == ""
    assert port["binding:vif_type"] == "unbound"
    assert port["binding:vnic_type"] == "normal"
    assert port["binding:profile"] == {}
    assert port["device_id"] == port["device_owner"] == port["name"] == ""


async def test_taken_address_is_never_granted_again(api: Door, net: dict) -> None:
    first = await api.create("port", network_id=net["id"], fixed_ips=[{"ip_address": "10.0.0.5"}])
    body = {"port": {"network_id": net["id"], "fixed_ips": [{"ip_address": "10.0.0.5"}]}}
    refusal = await api.refused("POST", "/v2.0/ports", body, 409)
    assert refusal["type"] == "IpAddressAlreadyAllocated"
    others = await api.create_many("port", [{"network_id": net["id"]}] * 20)
    assert "10.0.0.5" not in {address_of(port) for port in others}

    await api.delete("port", first["id"])
    await api.create("port", network_id=net["id"], fixed_ips=[{"ip_address": "10.0.0.5"}])


async def test_ports_of_one_bulk_request_have_macs_of_their_own(api: Door, net: dict) -> None:
    ports = await api.create_many("port", [{"network_id": net["id"]}] * 200)
    assert len({port["mac_address"] for port in ports}) == 200
    assert len({address_of(port) for port in ports}) == 200


async def test_bulk_that_does_not_fit_leaves_nothing(api: Door) -> None:
    network = await api.create("network")
    await api.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/29")
    body = {"ports": [{"network_id": network["id"]}] * 6}
    refusal = await api.refused("POST", "/v2.0/ports", body, 409)
    assert refusal["type"] == "IpAddressGenerationFailure"
    assert network["id"] in refusal["message"]
    assert await api.list("ports") == []

    ports = await api.create_many("port", [{"network_id": network["id"]}] * 5)
    assert {address_of(port) for port in ports} == {f"10.0.0.{last}" for last in range(2, 7)}


async def test_exhausted_pool_gives_freed_addresses_again(api: Door) -> None:
    network = await api.create("network")
    await api.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/30")
    only = await api.create("port", network_id=network["id"])
    await api.refused("POST", "/v2.0/ports", {"port": {"network_id": network["id"]}}, 409)
    await api.delete("port", only["id"])
    assert address_of(await api.create("port", network_id=network["id"])) == "10.0.0.2"


async def test_address_outside_of_the_subnet_is_refused(api: Door, net: dict) -> None:
    [subnet] = await api.list("subnets")
    for fixed in (
        {"ip_address": "10.0.1.5"},
        {"ip_address": "10.0.1.5", "subnet_id": subnet["id"]},
        {"ip_address": "10.0.0.255"},
        {"ip_address": "10.0.0.0"},
        {"ip_address": "no address"},
        {"ip_address": "", "subnet_id": subnet["id"]},
        {"ip_address": None, "subnet_id": subnet["id"]},
        {"ip_address": "10.0.0.7", "subnet_id": ""},
        {},
        {"port": 1},
    ):
        await api.refused(
            "POST", "/v2.0/ports", {"port": {"network_id": net["id"], "fixed_ips": [fixed]}}, 400
        )


async def test_gateway_may_be_asked_for_by_name_but_is_not_given(api: Door, net: dict) -> None:
    port = await api.create("port", network_id=net["id"], fixed_ips=[{"ip_address": "10.0.0.1"}])
    assert address_of(port) == "10.0.0.1"


async def test_port_without_subnets_has_no_address(api: Door) -> None:
    network = await api.create("network")
    port = await api.create("port", network_id=network["id"])
    assert port["fixed_ips"] == []


async def test_port_may_ask_for_no_address(api: Door, net: dict) -> None:
    port = await api.create("port", network_id=net["id"], fixed_ips=[])
    assert port["fixed_ips"] == []


async def test_dual_stack_port_gets_one_of_each_version(api: Door, net: dict) -> None:
    await api.create("subnet", network_id=net["id"], ip_version=6, cidr="2001:db8::/64")
    port = await api.create("port", network_id=net["id"])
    versions = sorted(ipaddress.ip_address(fixed["ip_address"]).version for fixed in port["fixed_ips"])
    assert versions == [4, 6]


async def test_random_ipv6_addresses_are_unique_and_in_their_pool(api: Door) -> None:
    network = await api.create("network")
    pool = [{"start": "2001:db8::10", "end": "2001:db8::13"}]
    await api.create(
        "subnet", network_id=network["id"], ip_version=6, cidr="2001:db8::/64", allocation_pools=pool
    )
    ports = await api.create_many("port", [{"network_id": network["id"]}] * 4)
    assert {address_of(port) for port in ports} == {f"2001:db8::{last}" for last in (10, 11, 12, 13)}
    refusal = await api.refused("POST", "/v2.0/ports", {"port": {"network_id": network["id"]}}, 409)
    assert refusal["type"] == "IpAddressGenerationFailure"


@pytest.mark.parametrize(
    ("fixed", "status", "kind"),
    [
        ({"ip_address": "10.9.0.7"}, 400, "InvalidIpForNetwork"),
        ({"ip_address": "10.0.0.255"}, 400, "InvalidIpForNetwork"),
        ({"subnet_id": "own", "ip_address": "10.9.0.7"}, 400, "InvalidIpForSubnet"),
        ({"subnet_id": "other"}, 400, "InvalidInput"),
        ({"subnet_id": "00000000-0000-0000-0000-000000000001"}, 404, "SubnetNotFound"),
    ],
)
async def test_address_that_is_not_the_networks_is_refused(
    api: Door, net: dict[str, Any], fixed: dict[str, str], status: int, kind: str
) -> None:
    other = await api.create("network")
    apart = await api.create("subnet", network_id=other["id"], ip_version=4, cidr="10.1.0.0/24")
    (own,) = (await api.show("network", net["id"]))["subnets"]
    if place := fixed.get("subnet_id"):
        fixed = {**fixed, "subnet_id": {"own": own, "other": apart["id"]}.get(place, place)}
    body = {"port": {"network_id": net["id"], "fixed_ips": [fixed]}}
    assert (await api.refused("POST", "/v2.0/ports", body, status))["type"] == kind


@pytest.mark.parametrize("vnic_type", ["remote-managed", "vdpa", "accelerator-direct"])
async def test_ports_of_devices_that_no_switch_has_are_kept_for_nova(
    api: Door, net: dict[str, Any], vnic_type: str
) -> None:
    await api.register_host("h1")
    made = {"network_id": net["id"], "binding:vnic_type": vnic_type, "binding:host_id": "h1"}
    port = await api.create("port", **made)
    assert (port["binding:vnic_type"], port["binding:vif_type"]) == (vnic_type, "binding_failed")


async def test_subnet_serves_only_its_device_owners_also_when_it_is_asked_for(api: Door) -> None:
    network = await api.create("network")
    made = {"network_id": network["id"]}
    ranges = {"ip_version": 4, "cidr": "10.0.0.0/24", "service_types": ["compute:nova"]}
    nova = await api.create("subnet", **ranges, **made)
    asked = [{"subnet_id": nova["id"], "ip_address": "10.0.0.9"}]
    error = await api.refused("POST", "/v2.0/ports", {"port": {**made, "fixed_ips": asked}}, 409)
    assert error["type"] == "IpAddressGenerationFailureNoMatchingSubnet"
    assert (await api.create("port", **made, fixed_ips=[]))["fixed_ips"] == []

    port = await api.create("port", **made, fixed_ips=asked, device_owner="compute:nova")
    kept = await api.update("port", port["id"], device_owner="", fixed_ips=asked)
    assert kept["fixed_ips"] == asked, "it has the address already"
    dhcp = await api.create("port", **made, device_owner="network:dhcp")
    assert [fixed["subnet_id"] for fixed in dhcp["fixed_ips"]] == [nova["id"]]

    await api.create("subnet", **made, ip_version=4, cidr="10.1.0.0/24")
    error = await api.refused("POST", "/v2.0/ports", {"port": {**made, "fixed_ips": asked}}, 400)
    assert nova["id"] in error["message"]


async def test_ports_of_services_go_with_what_they_serve_and_others_are_named(
    api: Door, net: dict[str, Any]
) -> None:
    dhcp = await api.create("port", network_id=net["id"], device_owner="network:dhcp")
    port = await api.create("port", network_id=net["id"])
    error = await api.refused("DELETE", f"/v2.0/networks/{net['id']}", None, 409)
    assert error["type"] == "NetworkInUse"
    assert port["id"] in error["message"]
    assert dhcp["id"] not in error["message"]
    (subnet,) = (await api.show("network", net["id"]))["subnets"]
    await api.refused("DELETE", f"/v2.0/subnets/{subnet}", None, 409)
    assert (await api.show("port", dhcp["id"]))["fixed_ips"] == dhcp["fixed_ips"], "a refusal changes nothing"

    await api.delete("port", port["id"])
    await api.delete("subnet", subnet)
    assert (await api.show("port", dhcp["id"]))["fixed_ips"] == []
    await api.delete("network", net["id"])
    await api.refused("GET", f"/v2.0/ports/{dhcp['id']}", None, 404)


async def test_automatic_addresses_are_those_of_the_mac_whatever_is_asked_for(api: Door) -> None:
    network = await api.create("network")
    slaac = {"network_id": network["id"], "ip_version": 6, "ipv6_address_mode": "slaac"}
    subnet = await api.create("subnet", cidr="2001:db8::/64", **slaac)
    await api.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
    made = {"network_id": network["id"], "mac_address": "fa:16:3e:00:00:01"}
    automatic = "2001:db8::f816:3eff:fe00:1"

    def addresses(port: dict[str, Any]) -> set[str]:
        return {fixed["ip_address"] for fixed in port["fixed_ips"]}

    asked = {"port": {**made, "fixed_ips": [{"subnet_id": subnet["id"], "ip_address": "2001:db8::5"}]}}
    error = await api.refused("POST", "/v2.0/ports", asked, 400)
    assert error["type"] == "AllocationOnAutoAddressSubnet"
    assert subnet["id"] in error["message"]
    port = await api.create("port", fixed_ips=[{"ip_address": "10.0.0.9"}], **made)
    assert addresses(port) == {"10.0.0.9", automatic}
    assert addresses(await api.update("port", port["id"], fixed_ips=[])) == {automatic}
    both = [{"ip_address": "10.0.0.7"}, {"subnet_id": subnet["id"], "ip_address": automatic}]
    assert addresses(await api.update("port", port["id"], fixed_ips=both)) == {"10.0.0.7", automatic}

    moved = await api.update("port", port["id"], mac_address="fa:16:3e:00:00:02")
    assert addresses(moved) == {"10.0.0.7", "2001:db8::f816:3eff:fe00:2"}
    assert addresses(await api.create("port", **made)) >= {automatic}, "the address of the former MAC is free"


async def test_routers_port_has_no_address_that_it_did_not_ask_for(api: Door) -> None:
    network = await api.create("network")
    subnet = await api.create(
        "subnet",
        network_id=network["id"],
        ip_version=6,
        ipv6_address_mode="slaac",
        cidr="2001:db8::/64",
        service_types=["network:router_interface"],
    )
    made = {"network_id": network["id"], "device_owner": "network:router_interface"}
    assert (await api.create("port", **made))["fixed_ips"] == []
    asked = [{"subnet_id": subnet["id"], "ip_address": "2001:db8::1"}]
    assert (await api.create("port", fixed_ips=asked, **made))["fixed_ips"] == asked


async def test_slaac_subnet_gives_the_eui64_address(api: Door) -> None:
    network = await api.create("network")
    await api.create(
        "subnet",
        network_id=network["id"],
        ip_version=6,
        cidr="2001:db8::/64",
        ipv6_ra_mode="slaac",
        ipv6_address_mode="slaac",
    )
    port = await api.create("port", network_id=network["id"], mac_address="fa:16:3e:00:00:01")
    assert address_of(port) == "2001:db8::f816:3eff:fe00:1"


async def test_mac_is_unique_in_its_network(api: Door, net: dict) -> None:
    mac = "02:00:00:00:00:01"
    await api.create("port", network_id=net["id"], mac_address=mac)
    refusal = await api.refused(
        "POST", "/v2.0/ports", {"port": {"network_id": net["id"], "mac_address": mac}}, 409
    )
    assert refusal["type"] == "MacAddressInUse"
    other = await api.create("network")
    await api.create("port", network_id=other["id"], mac_address=mac)
    for wrong in ("01:00:5e:00:00:01", "00:00:00:00:00:00", "nothing", 5):
        await api.refused(
            "POST", "/v2.0/ports", {"port": {"network_id": net["id"], "mac_address": wrong}}, 400
        )


async def test_changed_addresses_keep_what_is_asked_and_free_the_rest(api: Door, net: dict) -> None:
    [subnet] = await api.list("subnets")
    port = await api.create("port", network_id=net["id"])
    same = await api.update("port", port["id"], fixed_ips=[{"subnet_id": subnet["id"]}])
    assert same["fixed_ips"] == port["fixed_ips"]

    more = await api.update("port", port["id"], fixed_ips=[*port["fixed_ips"], {"ip_address": "10.0.0.9"}])
    assert [fixed["ip_address"] for fixed in more["fixed_ips"]] == ["10.0.0.2", "10.0.0.9"]

    moved = await api.update("port", port["id"], fixed_ips=[{"ip_address": "10.0.0.7"}])
    assert address_of(moved) == "10.0.0.7"
    assert address_of(await api.create("port", network_id=net["id"])) == "10.0.0.2"


async def test_two_addresses_from_one_subnet_differ(api: Door, net: dict) -> None:
    [subnet] = await api.list("subnets")
    port = await api.create("port", network_id=net["id"], fixed_ips=[{"subnet_id": subnet["id"]}] * 2)
    assert len({fixed["ip_address"] for fixed in port["fixed_ips"]}) == 2


async def test_port_security_off_and_groups_exclude_each_other(api: Door, net: dict) -> None:
    port = await api.create("port", network_id=net["id"])
    path = f"/v2.0/ports/{port['id']}"
    refusal = await api.refused("PUT", path, {"port": {"port_security_enabled": False}}, 409)
    assert refusal["type"] == "PortSecurityPortHasSecurityGroup"
    off = await api.update("port", port["id"], port_security_enabled=False, security_groups=[])
    assert off["security_groups"] == []
    body = {
        "port": {
            "network_id": net["id"],
            "port_security_enabled": False,
            "security_groups": port["security_groups"],
        }
    }
    refusal = await api.refused("POST", "/v2.0/ports", body, 400)
    assert refusal["type"] == "PortSecurityAndIPRequiredForSecurityGroups"


async def test_network_says_whether_its_ports_are_secured(api: Door) -> None:
    network = await api.create("network", port_security_enabled=False)
    port = await api.create("port", network_id=network["id"])
    assert port["port_security_enabled"] is False
    assert port["security_groups"] == []


async def test_network_stays_shared_while_others_have_ports_on_it(api: Door) -> None:
    network = await api.create("network", shared=True)
    guest = await api.create("port", network_id=network["id"], as_project="guest")
    body = {"network": {"shared": False}}

    refusal = await api.refused("PUT", f"/v2.0/networks/{network['id']}", body, 409)
    assert refusal["type"] == "InvalidSharedSetting"

    await api.delete("port", guest["id"])
    assert (await api.update("network", network["id"], shared=False))["shared"] is False


async def test_unknown_references_of_a_port_are_404(api: Door, net: dict) -> None:
    absent = "00000000-0000-4000-8000-000000000001"
    refusal = await api.refused("POST", "/v2.0/ports", {"port": {"network_id": absent}}, 404)
    assert refusal["type"] == "NetworkNotFound"
    body = {"port": {"network_id": net["id"], "security_groups": [absent]}}
    refusal = await api.refused("POST", "/v2.0/ports", body, 404)
    assert refusal["type"] == "SecurityGroupNotFound"


async def test_binding_to_an_unknown_host_fails_as_in_neutron(api: Door, net: dict) -> None:
    port = await api.create("port", network_id=net["id"], **{"binding:host_id": "nowhere"})
    assert port["binding:vif_type"] == "binding_failed"
    await api.register_host("nowhere")
    again = await api.update("port", port["id"], **{"binding:host_id": "nowhere"})
    assert again["binding:vif_type"] == "ovs"


async def test_port_is_active_only_when_its_own_host_realised_this_binding(api: Door, net: dict) -> None:
    await api.register_host("h1")
    await api.register_host("h2")
    port = await api.create("port", network_id=net["id"], **{"binding:host_id": "h1"})
    assert port["binding:vif_type"] == "ovs"
    assert port["binding:vif_details"]["bridge_name"] == "br-int"
    assert port["status"] == "DOWN"

    async def report(host: str, generation: int, is_realised: bool = True) -> str:
        reports = [Report(port["id"], generation, is_realised)]
        await api.store.submit(lambda txn: on_reports(txn, host, reports))
        return (await api.show("port", port["id"]))["status"]

    generation = api.generation(port["id"])
    assert await report("h2", generation) == "DOWN"  # not its host
    assert await report("h1", generation - 1) == "DOWN"  # an earlier binding
    assert await report("h1", generation, is_realised=False) == "DOWN"  # its host failed
    assert await report("h1", generation) == "ACTIVE"

    assert (await api.update("port", port["id"], name="still"))["status"] == "ACTIVE"
    assert (await api.update("port", port["id"], admin_state_up=False))["status"] == "DOWN"
    assert (await api.update("port", port["id"], admin_state_up=True))["status"] == "ACTIVE"
    assert (await api.update("port", port["id"], **{"binding:host_id": "h2"}))["status"] == "DOWN"
    assert await report("h1", generation) == "DOWN"
    assert await report("h2", api.generation(port["id"])) == "ACTIVE"


async def test_other_vnic_types_are_not_bound(api: Door, net: dict) -> None:
    await api.register_host("h1")
    given = {"binding:host_id": "h1", "binding:vnic_type": "direct"}
    port = await api.create("port", network_id=net["id"], **given)
    assert port["binding:vif_type"] == "binding_failed"


async def test_members_may_not_bind_and_do_not_see_bindings(api: Door) -> None:
    network = await api.create("network", as_project="blue")
    body = {"port": {"network_id": network["id"], "binding:host_id": "h1"}}
    await api.refused("POST", "/v2.0/ports", body, 403, as_project="blue")
    port = await api.create("port", network_id=network["id"], as_project="blue")
    assert "binding:host_id" not in port


async def test_guest_on_a_shared_network_may_not_choose_mac_or_address(api: Door) -> None:
    network = await api.create("network", shared=True)
    await api.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
    await api.create("port", network_id=network["id"], as_project="blue")
    for given in (
        {"mac_address": "02:00:00:00:00:01"},
        {"fixed_ips": [{"ip_address": "10.0.0.9"}]},
        {"device_owner": "network:dhcp"},
        {"port_security_enabled": False},
    ):
        body = {"port": {"network_id": network["id"]} | given}
        await api.refused("POST", "/v2.0/ports", body, 403, as_project="blue")


async def test_quota_bounds_ports_also_in_bulk(api: Door) -> None:
    network = await api.create("network", as_project="blue")
    body = {"ports": [{"network_id": network["id"], "fixed_ips": []}] * 501}
    refusal = await api.refused("POST", "/v2.0/ports", body, 409, as_project="blue")
    assert refusal["type"] == "OverQuota"
    assert await api.list("ports", as_project="blue") == []


async def test_list_filters_by_address_group_and_device(api: Door, net: dict) -> None:
    ports = await api.create_many(
        "port", [{"network_id": net["id"], "device_id": f"vm{i}"} for i in range(5)]
    )
    group = await api.create("security_group", name="web")
    await api.update("port", ports[3]["id"], security_groups=[group["id"]])

    async def found(query: str) -> set[str]:
        status, answer = await api.ask("GET", f"/v2.0/ports?{query}")
        assert status == 200
        return {port["device_id"] for port in answer["ports"]}

    assert await found("fixed_ips=ip_address%3D10.0.0.4") == {"vm2"}
    assert await found("fixed_ips=ip_address_substr%3D10.0.0") == {f"vm{i}" for i in range(5)}
    assert await found(f"security_groups={group['id']}") == {"vm3"}
    assert await found("device_id=vm1&device_id=vm2") == {"vm1", "vm2"}
    assert await found(f"mac_address={ports[0]['mac_address'].upper()}") <= {"vm0"}
    assert await found("status=ACTIVE") == set()


async def test_group_given_twice_is_refused(api: Door, net: dict) -> None:
    group = await api.create("security_group", name="web")
    port = await api.create("port", network_id=net["id"])
    body = {"port": {"security_groups": [group["id"]] * 2}}
    refusal = await api.refused("PUT", f"/v2.0/ports/{port['id']}", body, 400)
    assert "Duplicate items in the list" in refusal["message"]


async def test_unused_sets_of_groups_are_forgotten(api: Door, net: dict) -> None:
    from alcor.features.security_group.model import GROUP_SET

    groups = [await api.create("security_group", name=f"g{i}") for i in range(3)]
    ids = [group["id"] for group in groups]
    ports = [await api.create("port", network_id=net["id"], security_groups=ids[:n]) for n in (1, 2, 3)]
    again = await api.create("port", network_id=net["id"], security_groups=ids[::-1])
    assert len(list(api.store.tables.scan(GROUP_SET))) == 3

    await api.update("port", ports[0]["id"], security_groups=ids)
    for port in (*ports, again):
        await api.delete("port", port["id"])
    assert list(api.store.tables.scan(GROUP_SET)) == []


async def test_list_by_name_looks_at_no_other_port(api: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    network = await api.create("network")
    made = [
        await api.create("port", network_id=network["id"], name=name) for name in ("web", "web", "", "db")
    ]

    def scanned(*_: object) -> None:
        raise AssertionError("the whole table is looked at")

    monkeypatch.setattr(Tables, "snapshot_scan", scanned)
    found = await api.list("ports", name="web")
    assert {port["id"] for port in found} == {port["id"] for port in made[:2]}
