# SPDX-License-Identifier: Apache-2.0
"""Allowed address pairs over REST, and what is believed of hosts that saw a claim."""

from typing import Any

import pytest

from alcor.base.net import Ip, Mac
from alcor.dataplane.rows import Claim
from alcor.features.address_pair.model import ADDRESS_OWNER
from alcor.features.address_pair.rules import on_claims
from tests.features.door import Door

VIP = "10.0.0.100"
VMAC = "00:00:5e:00:01:07"


async def with_pairs(api: Door, net: dict[str, Any], *pairs: dict[str, str], **fields: Any) -> dict[str, Any]:
    return await api.create("port", network_id=net["id"], allowed_address_pairs=list(pairs), **fields)


async def test_pair_without_mac_gets_the_ports_own(api: Door, net: dict[str, Any]) -> None:
    port = await with_pairs(
        api, net, {"ip_address": VIP}, {"ip_address": "10.1.0.0/16", "mac_address": VMAC.upper()}
    )
    assert port["allowed_address_pairs"] == [
        {"mac_address": port["mac_address"], "ip_address": VIP},
        {"mac_address": VMAC, "ip_address": "10.1.0.0/16"},
    ]
    assert (await api.show("port", port["id"]))["allowed_address_pairs"] == port["allowed_address_pairs"]
    plain = await api.create("port", network_id=net["id"])
    assert plain["allowed_address_pairs"] == []


async def test_pairs_are_replaced_as_a_whole_and_null_is_none(api: Door, net: dict[str, Any]) -> None:
    port = await with_pairs(api, net, {"ip_address": VIP})
    changed = await api.update("port", port["id"], allowed_address_pairs=[{"ip_address": "10.0.0.101"}])
    assert [pair["ip_address"] for pair in changed["allowed_address_pairs"]] == ["10.0.0.101"]
    assert (await api.update("port", port["id"], name="kept"))["allowed_address_pairs"]
    assert (await api.update("port", port["id"], allowed_address_pairs=None))["allowed_address_pairs"] == []


async def test_ports_are_found_by_the_address_or_mac_of_a_pair(api: Door, net: dict[str, Any]) -> None:
    port = await with_pairs(api, net, {"ip_address": VIP, "mac_address": VMAC})
    await with_pairs(api, net, {"ip_address": "10.0.0.101"})
    for wanted in (f"ip_address={VIP}", f"mac_address={VMAC}"):
        [found] = await api.list("ports", allowed_address_pairs=wanted)
        assert found["id"] == port["id"]


@pytest.mark.parametrize(
    ("pairs", "type", "words"),
    [
        ("all", "HTTPBadRequest", "must be a list"),
        ([{"mac_address": VMAC}], "AllowedAddressPairsMissingIP", "must contain ip_address"),
        ([{"ip_address": VIP}] * 2, "DuplicateAddressPairInRequest", VIP),
        ([{"ip_address": VIP, "color": "red"}], "HTTPBadRequest", "color"),
        ([{"ip_address": "10.0.0.300"}], "HTTPBadRequest", "not a valid IP address"),
        ([{"ip_address": 7}], "HTTPBadRequest", "not a valid IP address"),
        ([{"ip_address": "10.0.0.5/24"}], "HTTPBadRequest", "10.0.0.0/24"),
        ([{"ip_address": "10.0.0.0/33"}], "HTTPBadRequest", "not a valid IP subnet"),
        ([{"ip_address": "224.0.0.18"}], "HTTPBadRequest", "multicast"),
        ([{"ip_address": "ff02::12"}], "HTTPBadRequest", "multicast"),
        ([{"ip_address": "224.0.0.0/3"}], "HTTPBadRequest", "multicast"),
        ([{"ip_address": VIP, "mac_address": "01:00:5e:00:00:12"}], "HTTPBadRequest", "MAC"),
        ([{"ip_address": VIP, "mac_address": 3}], "HTTPBadRequest", "MAC"),
        ([{"ip_address": f"10.0.1.{n}"} for n in range(11)], "AllowedAddressPairExhausted", "maximum 10"),
        (
            [{"ip_address": f"10.0.1.{n % 256}"} for n in range(1001)],
            "AllowedAddressPairExhausted",
            "exceeds",
        ),
    ],
)
async def test_pair_that_neutron_refuses_is_refused(
    api: Door, net: dict[str, Any], pairs: object, type: str, words: str
) -> None:
    body = {"port": {"network_id": net["id"], "allowed_address_pairs": pairs}}
    refusal = await api.refused("POST", "/v2.0/ports", body, 400)
    assert refusal["type"] == type
    assert words in refusal["message"]
    assert not await api.list("ports")


async def test_pair_given_twice_by_leaving_the_mac_out_is_refused(api: Door, net: dict[str, Any]) -> None:
    port = await api.create("port", network_id=net["id"])
    twice = [{"ip_address": VIP}, {"ip_address": VIP, "mac_address": port["mac_address"]}]
    body = {"port": {"allowed_address_pairs": twice}}
    refusal = await api.refused("PUT", f"/v2.0/ports/{port['id']}", body, 400)
    assert refusal["type"] == "DuplicateAddressPairInRequest"


async def test_pair_entry_that_is_no_object_is_refused(api: Door, net: dict[str, Any]) -> None:
    body = {"port": {"network_id": net["id"], "allowed_address_pairs": [VIP]}}
    refusal = await api.refused("POST", "/v2.0/ports", body, 400)
    assert "allowed_address_pairs" in refusal["message"]


async def test_everything_in_ipv4_is_a_pair(api: Door, net: dict[str, Any]) -> None:
    port = await with_pairs(api, net, {"ip_address": "0.0.0.0/0"})
    assert port["allowed_address_pairs"][0]["ip_address"] == "0.0.0.0/0"


async def test_pairs_need_port_security(api: Door, net: dict[str, Any]) -> None:
    pairs = [{"ip_address": VIP}]
    body = {"port": {"network_id": net["id"], "port_security_enabled": False, "allowed_address_pairs": pairs}}
    refusal = await api.refused("POST", "/v2.0/ports", body, 409)
    assert refusal["type"] == "AddressPairAndPortSecurityRequired"
    port = await with_pairs(api, net, *pairs, security_groups=[])
    off = {"port": {"port_security_enabled": False}}
    refusal = await api.refused("PUT", f"/v2.0/ports/{port['id']}", off, 409)
    assert refusal["type"] == "AddressPairAndPortSecurityRequired"
    freed = await api.update("port", port["id"], port_security_enabled=False, allowed_address_pairs=[])
    assert freed["port_security_enabled"] is False


async def test_only_the_networks_owner_gives_pairs(api: Door) -> None:
    net = await api.create("network", shared=True)
    await api.create("subnet", network_id=net["id"], ip_version=4, cidr="10.0.0.0/24")
    body = {"port": {"network_id": net["id"], "allowed_address_pairs": [{"ip_address": VIP}]}}
    await api.refused("POST", "/v2.0/ports", body, 403, as_project="stranger")


async def test_claim_counts_only_from_the_ports_host_and_for_its_pairs(
    api: Door, net: dict[str, Any]
) -> None:
    await api.register_host("one")
    port = await with_pairs(api, net, {"ip_address": VIP, "mac_address": VMAC}, **{"binding:host_id": "one"})
    other = await with_pairs(api, net, {"ip_address": VIP, "mac_address": VMAC}, **{"binding:host_id": "one"})

    def claim(key: str = port["id"], address: str = VIP, mac: str = VMAC) -> Claim:
        return Claim(key, Ip(address), Mac(mac))

    async def heard(host: str, *claims: Claim) -> list[str]:
        await api.store.submit(lambda txn: on_claims(txn, host, claims))
        return [owner.port_id for owner in api.store.tables.scan(ADDRESS_OWNER)]

    nonsense = [claim("absent"), claim(address="10.0.0.9"), claim(mac=port["mac_address"])]
    assert await heard("one", *nonsense) == []
    assert await heard("two", claim()) == []
    assert await heard("one", claim()) == [port["id"]]
    assert await heard("one", claim(other["id"])) == [other["id"]]
    before = api.store.tables.position
    await heard("one", claim(other["id"]))
    assert api.store.tables.position == before
    await api.delete("port", other["id"])
    assert await heard("one") == []
