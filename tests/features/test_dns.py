# SPDX-License-Identifier: Apache-2.0
"""Names of ports and domains of networks: stored, checked and answered as Neutron does."""

from pathlib import Path
from typing import Any

import pytest

from alcor.features.dns.model import PORT_DNS
from tests.features.door import Door, open_door

LABEL = "x" * 63


async def test_port_without_a_name_is_called_by_its_addresses(api: Door, net: dict[str, Any]) -> None:
    port = await api.create("port", network_id=net["id"], fixed_ips=[{"ip_address": "10.0.0.7"}])
    assert (port["dns_name"], port["dns_domain"], net["dns_domain"]) == ("", "", "")
    assert port["dns_assignment"] == [
        {"ip_address": "10.0.0.7", "hostname": "host-10-0-0-7", "fqdn": "host-10-0-0-7.openstacklocal."}
    ]
    assert (await api.create("port", network_id=net["id"], fixed_ips=[]))["dns_assignment"] == []
    assert not list(api.store.tables.scan(PORT_DNS))


async def test_name_and_domain_of_a_port_are_kept_and_make_its_whole_name(
    api: Door, net: dict[str, Any]
) -> None:
    def fqdn(port: dict[str, Any]) -> str:
        (one,) = port["dns_assignment"]
        assert one["hostname"] == port["dns_name"]
        return one["fqdn"]

    port = await api.create("port", network_id=net["id"], dns_name="WWW")
    assert (port["dns_name"], fqdn(port)) == ("www", "www.openstacklocal.")
    await api.update("network", net["id"], dns_domain="Blue.Example.")
    assert fqdn(await api.show("port", port["id"])) == "www.blue.example."
    changed = await api.update("port", port["id"], dns_domain="red.example.")
    assert (changed["dns_domain"], fqdn(changed)) == ("red.example.", "www.red.example.")
    assert changed["revision_number"] > port["revision_number"]
    whole = await api.update("port", port["id"], dns_name="www.green.example.")
    assert fqdn(whole) == "www.green.example."
    await api.update("port", port["id"], dns_name="", dns_domain="")
    assert not list(api.store.tables.scan(PORT_DNS))


async def test_address_of_ipv6_gives_a_name_without_colons(api: Door) -> None:
    network = await api.create("network")
    subnet = await api.create(
        "subnet", network_id=network["id"], ip_version=6, cidr="2001:db8::/64", dns_publish_fixed_ip=True
    )
    assert subnet["dns_publish_fixed_ip"] is True
    assert (await api.update("subnet", subnet["id"], dns_publish_fixed_ip=False))[
        "dns_publish_fixed_ip"
    ] is False
    port = await api.create("port", network_id=network["id"], fixed_ips=[{"ip_address": "2001:db8::7"}])
    assert port["dns_assignment"][0]["hostname"] == "host-2001-db8--7"


@pytest.mark.parametrize(
    ("noun", "name", "value", "reason"),
    [
        ("port", "dns_name", None, "must be string type"),
        ("port", "dns_name", "a_b", "alphanumeric or a hyphen"),
        ("port", "dns_name", "x" + LABEL, "1-63 characters"),
        ("port", "dns_name", "-a", "must not start or end with a hyphen"),
        ("port", "dns_name", "a..b", "empty component"),
        ("port", "dns_name", "a.123", "TLD '123' must not be all numeric"),
        ("port", "dns_name", ".".join([LABEL] * 4) + ".x", "255 character FQDN limit"),
        ("port", "dns_domain", "example.org", "'example.org' is not a FQDN"),
        ("network", "dns_domain", "example.org", "'example.org' is not a FQDN"),
        ("network", "dns_domain", ".".join([LABEL] * 4) + ".", "cause it to exceed the maximum length"),
    ],
)
async def test_what_is_no_name_is_refused(
    api: Door, net: dict[str, Any], noun: str, name: str, value: object, reason: str
) -> None:
    given = {"network_id": net["id"], name: value} if noun == "port" else {name: value}
    error = await api.refused("POST", f"/v2.0/{noun}s", {noun: given}, 400)
    assert f"Invalid input for {name}." in error["message"]
    assert reason in error["message"]


async def test_domain_of_the_settings_is_that_of_names_without_one_and_ends_whole_ones(
    tmp_path: Path,
) -> None:
    async with open_door(tmp_path, dns_domain="Example.org") as api:
        network = await api.create("network")
        await api.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")

        async def fqdn(**given: Any) -> str:
            port = await api.create("port", network_id=network["id"], **given)
            return port["dns_assignment"][0]["fqdn"]

        assert await fqdn(fixed_ips=[{"ip_address": "10.0.0.7"}]) == "host-10-0-0-7.example.org."
        assert await fqdn(dns_name="www") == "www.example.org."
        assert await fqdn(dns_name="www.example.org.") == "www.example.org."
        assert await fqdn(dns_name="www", dns_domain="red.example.") == "www.red.example."
        for name, reason in (
            ("www.example.com.", "not one in the domain 'example.org.'"),
            ("example.org.", "not one in the domain 'example.org.'"),
            (".".join([LABEL] * 3 + ["x" * 52]), "exceeds the 255 character FQDN limit"),
        ):
            body = {"port": {"network_id": network["id"], "dns_name": name}}
            assert reason in (await api.refused("POST", "/v2.0/ports", body, 400))["message"]


async def test_without_a_domain_names_stand_alone(tmp_path: Path) -> None:
    async with open_door(tmp_path, dns_domain="") as api:
        network = await api.create("network")
        await api.create("subnet", network_id=network["id"], ip_version=4, cidr="10.0.0.0/24")
        port = await api.create("port", network_id=network["id"], dns_name="www.example.org.")
        assert port["dns_assignment"][0]["fqdn"] == "www.example.org."
        changed = await api.update("port", port["id"], dns_name="www")
        assert changed["dns_assignment"][0]["fqdn"] == "www"
