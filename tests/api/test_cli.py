# SPDX-License-Identifier: Apache-2.0
"""The `openstack` command against the service over the wire, one session of it per noun."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.served import Served, served

OPENSTACK = Path(sys.executable).with_name("openstack")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("cli")) as running_server:
        yield running_server


def said(server: Served, commands: str) -> tuple[list[Any], str]:
    """What each command that answers printed, as JSON, and what all of them complained of."""
    done = subprocess.run(
        [str(OPENSTACK)],
        input=commands,
        env={**os.environ, "OS_AUTH_TYPE": "none", "OS_ENDPOINT": server.url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    answers, text, decoder = [], done.stdout.strip(), json.JSONDecoder()
    while text:
        answer, end = decoder.raw_decode(text)
        answers.append(answer)
        text = text[end:].lstrip()
    return answers, done.stderr.strip()


def test_networks_from_create_to_delete(server: Served):
    (made, listed, shown, changed, left), complaints = said(
        server,
        """
        network create -f json --description first n1
        network list -f json --name n1
        network show -f json n1
        network set --name n2 --description second --disable --share n1
        network show -f json n2
        network delete n2
        network list -f json
        """,
    )
    assert complaints == ""
    assert (made["name"], made["description"], made["provider:network_type"]) == ("n1", "first", "vxlan")
    assert [network["ID"] for network in listed] == [made["id"]]
    assert shown == made
    assert (changed["id"], changed["description"]) == (made["id"], "second")
    assert (changed["admin_state_up"], changed["shared"], changed["revision_number"]) == (False, True, 2)
    assert left == []


def test_subnets_from_create_to_delete(server: Served):
    (_, made, listed, shown, changed, unset, left), complaints = said(
        server,
        """
        network create -f json sn
        subnet create -f json --network sn --subnet-range 10.0.0.0/24 --gateway 10.0.0.254 \
--allocation-pool start=10.0.0.10,end=10.0.0.20 --dns-nameserver 9.9.9.9 \
--host-route destination=10.9.0.0/16,gateway=10.0.0.9 --no-dhcp s1
        subnet list -f json --network sn
        subnet show -f json s1
        subnet set --name s2 --dhcp --dns-nameserver 8.8.8.8 --gateway 10.0.0.1 s1
        subnet show -f json s2
        subnet unset --dns-nameserver 9.9.9.9 --host-route destination=10.9.0.0/16,gateway=10.0.0.9 --gateway s2
        subnet show -f json s2
        subnet delete s2
        subnet list -f json
        network delete sn
        """,
    )
    assert complaints == ""
    assert (made["cidr"], made["gateway_ip"], made["enable_dhcp"]) == ("10.0.0.0/24", "10.0.0.254", False)
    assert made["allocation_pools"] == [{"start": "10.0.0.10", "end": "10.0.0.20"}]
    assert [subnet["ID"] for subnet in listed] == [made["id"]]
    assert shown == made
    assert sorted(changed["dns_nameservers"]) == ["8.8.8.8", "9.9.9.9"]
    assert (changed["gateway_ip"], changed["enable_dhcp"]) == ("10.0.0.1", True)
    assert (unset["dns_nameservers"], unset["host_routes"], unset["gateway_ip"]) == (["8.8.8.8"], [], None)
    assert left == []


def test_ports_from_create_to_delete(server: Served):
    server.register_host("node1")
    (_, _, _, made, listed, shown, changed, unset, filtered, left), complaints = said(
        server,
        """
        network create -f json pn
        subnet create -f json --network pn --subnet-range 10.0.0.0/24 ps
        security group create -f json pg
        port create -f json --network pn --fixed-ip subnet=ps,ip-address=10.0.0.50 \
--mac-address fa:16:3e:00:00:77 --device vm1 --device-owner compute:nova --security-group pg p1
        port list -f json --network pn
        port show -f json p1
        port set --name p2 --disable --host node1 --binding-profile a=b --fixed-ip subnet=ps,ip-address=10.0.0.51 p1
        port show -f json p2
        port unset --fixed-ip subnet=ps,ip-address=10.0.0.50 --security-group pg --binding-profile a --device --host p2
        port show -f json p2
        port list -f json --fixed-ip ip-substring=10.0.0.5 --device-owner compute:nova --long
        port delete p2
        port list -f json
        security group delete pg
        network delete pn
        """,
    )
    assert complaints == ""
    assert [fixed["ip_address"] for fixed in made["fixed_ips"]] == ["10.0.0.50"]
    assert (made["mac_address"], made["device_id"], made["status"]) == ("fa:16:3e:00:00:77", "vm1", "DOWN")
    assert len(made["security_group_ids"]) == 1
    assert [port["ID"] for port in listed] == [made["id"]]
    assert shown == made
    assert (changed["binding_host_id"], changed["binding_vif_type"]) == ("node1", "ovs")
    assert changed["binding_profile"] == {"a": "b"}
    assert sorted(fixed["ip_address"] for fixed in changed["fixed_ips"]) == ["10.0.0.50", "10.0.0.51"]
    assert (unset["security_group_ids"], unset["binding_profile"], unset["device_id"]) == ([], {}, "")
    assert (unset["binding_host_id"], unset["binding_vif_type"]) == ("", "unbound")
    assert [fixed["ip_address"] for fixed in unset["fixed_ips"]] == ["10.0.0.51"]
    assert [port["ID"] for port in filtered] == [made["id"]]
    assert left == []


def test_security_groups_and_their_rules(server: Served):
    (made, rule, rules, shown_rule, shown, changed, left), complaints = said(
        server,
        """
        security group create -f json --description first g1
        security group rule create -f json --protocol tcp --dst-port 80:81 --remote-ip 192.0.2.0/24 g1
        security group rule list -f json --ingress g1
        security group rule list -f json --egress g1
        security group show -f json g1
        security group set --name g2 --description second g1
        security group show -f json g2
        security group delete g2
        security group list -f json -c Name
        """,
    )
    assert complaints == ""
    assert (made["name"], made["description"]) == ("g1", "first")
    assert (rule["protocol"], rule["port_range_min"], rule["port_range_max"]) == ("tcp", 80, 81)
    assert [each["ID"] for each in rules] == [rule["id"]]
    assert len(shown_rule) == 2
    assert rule["id"] in {each["id"] for each in shown["rules"]}
    assert (changed["id"], changed["description"]) == (made["id"], "second")
    assert left == [{"Name": "default"}]


@pytest.mark.parametrize(
    ("noun", "given"),
    [
        ("network", ""),
        ("subnet", "--network tn --subnet-range 10.0.0.0/24"),
        ("port", "--network tn"),
        ("security group", ""),
    ],
)
def test_tags_are_set_and_unset_on_every_noun(server: Served, noun: str, given: str):
    (_, made, tagged, less, none), complaints = said(
        server,
        f"""
        network create -f json tn
        {noun} create -f json {given} t1
        {noun} set --tag one --tag two t1
        {noun} show -f json t1
        {noun} unset --tag one t1
        {noun} show -f json t1
        {noun} unset --all-tag t1
        {noun} show -f json t1
        {noun} delete t1
        network delete tn
        """,
    )
    assert complaints == ""
    assert [sorted(each["tags"]) for each in (made, tagged, less, none)] == [[], ["one", "two"], ["two"], []]


def test_one_rule_is_shown_and_deleted_by_its_id(server: Served):
    (_, rule), complaints = said(
        server,
        """
        security group create -f json g3
        security group rule create -f json --protocol icmp g3
        """,
    )
    assert complaints == ""
    (shown,), complaints = said(
        server,
        f"""
        security group rule show -f json {rule["id"]}
        security group rule delete {rule["id"]}
        security group delete g3
        """,
    )
    assert complaints == ""
    assert shown["id"] == rule["id"]


def test_agents_are_shown_set_and_deleted(server: Served):
    server.register_host("node2")
    (listed,), complaints = said(server, "network agent list -f json --host node2")
    assert complaints == ""
    (agent,) = listed
    assert (agent["Host"], agent["Alive"], agent["Binary"]) == ("node2", True, "alcor-agent")
    (shown, changed), complaints = said(
        server,
        f"""
        network agent show -f json {agent["ID"]}
        network agent set --disable {agent["ID"]}
        network agent show -f json {agent["ID"]}
        network agent delete {agent["ID"]}
        """,
    )
    assert complaints == ""
    assert (shown["host"], shown["admin_state_up"], changed["admin_state_up"]) == ("node2", True, False)


def test_what_is_shared_with_everybody_is_shown_as_a_policy(server: Served):
    (network, made, listed), complaints = said(
        server,
        """
        network create -f json shared
        network rbac create -f json --type network --action access_as_shared --target-all-projects shared
        network rbac list -f json
        """,
    )
    assert complaints == ""
    assert (made["object_id"], made["target_project_id"]) == (network["id"], "*")
    assert made["id"] in [policy["ID"] for policy in listed]


def test_extensions_and_refusals_read_well(server: Served):
    (extensions,), complaints = said(
        server,
        """
        extension list -f json --network
        network show -f json no-such-network
        subnet create --network no-such-network --subnet-range 10.0.0.0/24 s
        """,
    )
    assert {"binding", "port-security"} <= {extension["Alias"] for extension in extensions}
    assert complaints.splitlines() == ["No Network found for no-such-network"] * 2
