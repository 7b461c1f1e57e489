# SPDX-License-Identifier: Apache-2.0
"""What a program does by openstacksdk, with the environment's cloud; prints an outcome per line.

Run by the Python of the environment that has `openstack`.
"""

import time

import openstack
from openstack.connection import Connection


def networks(cloud: Connection) -> None:
    """From create to delete, by name and by id."""
    made = cloud.network.create_network(name="sdk-n", description="first")
    assert cloud.network.find_network("sdk-n").id == made.id
    assert cloud.network.update_network(made, description="second").description == "second"
    assert [each.id for each in cloud.network.networks(name="sdk-n")] == [made.id]
    cloud.network.delete_network(made, ignore_missing=False)
    assert cloud.network.find_network("sdk-n") is None


def ports_in_pages(cloud: Connection) -> None:
    """Every port is listed once, whatever the page's size; bulk creation keeps its order."""
    network = cloud.network.create_network(name="sdk-p")
    subnet = cloud.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.8.0.0/24")
    wanted = [{"network_id": network.id, "name": f"p{number}"} for number in range(7)]
    made = list(cloud.network.create_ports(wanted))
    assert [port.name for port in made] == [each["name"] for each in wanted]
    listed = list(cloud.network.ports(network_id=network.id, limit=3))
    assert sorted(port.id for port in listed) == sorted(port.id for port in made)
    assert {port.fixed_ips[0]["subnet_id"] for port in listed} == {subnet.id}
    for port in listed:
        cloud.network.delete_port(port, ignore_missing=False)
    cloud.network.delete_network(network, ignore_missing=False)


def security_groups(cloud: Connection) -> None:
    """A group has its rules; the project has its default group."""
    made = cloud.network.create_security_group(name="sdk-g")
    rule = cloud.network.create_security_group_rule(
        security_group_id=made.id, direction="ingress", protocol="tcp", port_range_min=80, port_range_max=80
    )
    assert rule.id in {each["id"] for each in cloud.network.get_security_group(made.id).security_group_rules}
    assert cloud.network.find_security_group("default") is not None
    cloud.network.delete_security_group(made, ignore_missing=False)


def refusals(cloud: Connection) -> None:
    """What is not there is said so."""
    for find in (cloud.network.find_network, cloud.network.find_port, cloud.network.find_subnet):
        assert find("00000000-0000-0000-0000-00000000dead") is None


SESSIONS = (networks, ports_in_pages, security_groups, refusals)


def main() -> None:
    """Each session once."""
    cloud = openstack.connect()
    for session in SESSIONS:
        began, reason = time.monotonic(), ""
        try:
            session(cloud)
        except Exception as wrong:  # noqa: BLE001  # whatever a client meets is a failure with its reason
            reason = f"{type(wrong).__name__}: {' '.join(str(wrong).split())}"[:300]
        outcome = "fail" if reason else "pass"
        print(
            f"openstack.sdk.{session.__name__}", outcome, f"{time.monotonic() - began:.2f}", reason, sep="\t"
        )


if __name__ == "__main__":
    main()
