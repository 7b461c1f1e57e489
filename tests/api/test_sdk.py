# SPDX-License-Identifier: Apache-2.0
"""openstacksdk against the service over the wire: every noun from create to delete, pages, filters and refusals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
from openstack import exceptions

from tests.api.served import Served, served

pytestmark = pytest.mark.filterwarnings("ignore:::openstack", "ignore:::keystoneauth1")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running_server:
        yield running_server


@pytest.fixture
def network(server: Served) -> Iterator[Any]:
    """The SDK's networking proxy."""
    with openstack.connect(
        auth_type="none", auth={"endpoint": server.url}, load_yaml_config=False, load_envvars=False
    ) as connection:
        yield connection.network


def test_networks_from_create_to_delete(network: Any):
    made = network.create_network(name="n", description="d")
    assert made.is_admin_state_up
    assert made.project_id
    assert network.get_network(made.id) == made
    assert network.find_network("n").id == made.id
    assert network.find_network("nope") is None
    changed = network.update_network(made, name="m")
    assert (changed.name, changed.revision_number) == ("m", 2)
    assert [each.id for each in network.networks(name="m")] == [made.id]
    network.delete_network(made)
    assert list(network.networks()) == []
    with pytest.raises(exceptions.NotFoundException, match=f"Network {made.id} could not be found"):
        network.get_network(made.id)


def test_subnets_from_create_to_delete(network: Any):
    net = network.create_network(name="n")
    made = network.create_subnet(network_id=net.id, ip_version=6, cidr="2001:db8::/64", name="s")
    assert made.gateway_ip == "2001:db8::"
    assert network.get_subnet(made.id) == made
    changed = network.update_subnet(made, dns_nameservers=["2001:db8::53"], gateway_ip=None)
    assert (changed.dns_nameservers, changed.gateway_ip) == (["2001:db8::53"], None)
    assert [each.id for each in network.subnets(ip_version=6, network_id=net.id)] == [made.id]
    assert network.get_network(net.id).subnet_ids == [made.id]
    network.delete_subnet(made)
    assert list(network.subnets()) == []


def test_ports_from_create_to_delete(server: Served, network: Any):
    server.register_host("node1")
    net = network.create_network(name="n")
    network.create_subnet(network_id=net.id, ip_version=4, cidr="10.0.0.0/24")
    made = network.create_port(network_id=net.id, name="p", binding_host_id="node1")
    assert (made.status, made.binding_vif_type) == ("DOWN", "ovs")
    assert network.get_port(made.id) == made
    changed = network.update_port(made, device_id="vm", security_group_ids=[])
    assert (changed.device_id, changed.security_group_ids) == ("vm", [])
    found = network.ports(fixed_ips="ip_address=" + made.fixed_ips[0]["ip_address"])
    assert [each.id for each in found] == [made.id]
    many = network.create_ports([{"network_id": net.id, "name": f"b{place}"} for place in range(3)])
    assert [port.name for port in many] == ["b0", "b1", "b2"]
    with pytest.raises(exceptions.ConflictException, match="in use"):
        network.delete_network(net)
    for port in network.ports():
        network.delete_port(port)
    assert list(network.ports()) == []


def test_security_groups_and_rules(network: Any):
    made = network.create_security_group(name="g")
    assert {rule["direction"] for rule in made.security_group_rules} == {"egress"}
    rule = network.create_security_group_rule(
        security_group_id=made.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22
    )
    assert network.get_security_group_rule(rule.id).port_range_max == 22
    found = network.security_group_rules(security_group_id=made.id, direction="ingress")
    assert [each.id for each in found] == [rule.id]
    network.delete_security_group_rule(rule)
    assert network.update_security_group(made, name="h").name == "h"
    network.delete_security_group(made)
    assert [group.name for group in network.security_groups()] == ["default"]


def test_agents_and_extensions(server: Served, network: Any):
    server.register_host("node1")
    (agent,) = network.agents()
    assert (agent.host, agent.is_alive) == ("node1", True)
    assert network.update_agent(agent, admin_state_up=False).is_admin_state_up is False
    network.delete_agent(agent)
    assert list(network.agents()) == []
    assert {"binding", "port-security"} <= {extension.alias for extension in network.extensions()}
    assert network.find_extension("router") is None


def test_pages_are_followed_to_the_end(network: Any):
    for place in range(7):
        network.create_network(name=f"n{place}")
    listed = [each.name for each in network.networks(limit=2)]
    assert sorted(listed) == [f"n{place}" for place in range(7)]


def test_update_on_an_old_revision_is_refused(network: Any):
    made = network.create_network(name="n")
    network.update_network(made.id, name="m")
    with pytest.raises(exceptions.PreconditionFailedException):
        network.update_network(made.id, name="o", if_revision=1)
