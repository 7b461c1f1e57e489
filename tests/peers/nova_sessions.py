# SPDX-License-Identifier: Apache-2.0
"""What Nova does to the network service over the lives of its machines, by Nova's own code; prints an outcome per line.

Run by the Python of the environment that has `nova`, with the cloud of a user in the environment's variables and a
nova.conf as argument: its objects are on a SQLite file, its clients ask the real Keystone, with service tokens. With a
port as second argument it takes events there, as Nova's API does, and waits for those that Nova waits for.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "true"

import nova.conf
from keystoneauth1 import session as keystone_session
from keystoneauth1.identity import v3
from neutronclient.v2_0.client import Client
from nova import context as nova_context
from nova import exception, objects
from nova import rpc as nova_rpc
from nova.api.openstack.compute.schemas import server_external_events
from nova.api.validation import validators
from nova.db.api import api as api_db
from nova.db.api import models as api_models
from nova.db.main import api as main_db
from nova.db.main import models as main_models
from nova.network import model as network_model
from nova.network import neutron, security_group_api

HOSTS = ("host1", "host2")
Sessions = tuple[Callable[["Cloud"], None], ...]


class Cloud:
    """A member of a project whose requests Nova serves, and what Nova serves them by."""

    def __init__(self) -> None:
        session = _session(os.environ["OS_USERNAME"], os.environ["OS_PROJECT_NAME"])
        self.context = _context(session, "member", "reader")
        self.operator = _context(_session("admin", "admin"), "admin")  # who migrates machines
        self.user = Client(session=session)
        self.admin = neutron.get_client(nova_context.get_admin_context(), admin=True)
        self.nova = neutron.API()
        self.events: list[dict[str, str]] | None = None  # that Nova was told; None: it is told nothing
        self._made: list[str] = []

    def network(self, cidr: str = "10.20.0.0/24", client: Any = None, **fields: str) -> dict[str, Any]:
        """A network of the user's with a subnet."""
        made = (client or self.user).create_network({"network": fields})["network"]
        subnet = {"network_id": made["id"], "ip_version": 4, "cidr": cidr}
        self._made.append(made["id"])
        made["subnet"] = self.user.create_subnet({"subnet": subnet})["subnet"]
        return made

    def instance(self, host: str = HOSTS[0]) -> Any:
        """A machine, in Nova's database."""
        made = objects.Instance(
            self.context,
            uuid=str(uuid4()),
            project_id=self.context.project_id,
            user_id=self.context.user_id,
            host=host,
            hostname="machine",
            display_name="machine",
            availability_zone="nova",
            info_cache=objects.InstanceInfoCache(network_info=network_model.NetworkInfo()),
        )
        made.create()
        return made

    def spawned(self, *requests: Any, host: str = HOSTS[0], groups: list[str] | None = None) -> Any:
        """A machine with a port for each request, as nova-compute gives it its network."""
        machine = self.instance(host)
        found = self.nova.allocate_for_instance(
            self.context,
            machine,
            objects.NetworkRequestList(objects=list(requests)),
            security_groups=groups,
            bind_host_id=host,
        )
        assert len(found) == len(requests), found
        return machine

    def port(self, id: str) -> dict[str, Any]:
        """The port as an admin sees it."""
        return self.admin.show_port(id)["port"]

    def ports(self, machine: Any) -> list[dict[str, Any]]:
        """The machine's ports as an admin sees them."""
        return self.admin.list_ports(device_id=machine.uuid)["ports"]

    def swept(self) -> None:
        """Takes away the networks that a session made, with what it left there."""
        while self._made:
            network = self._made.pop()
            for port in self.admin.list_ports(network_id=network)["ports"]:
                self.admin.delete_port(port["id"])
            self.admin.delete_network(network)

    def hears(self, machine: Any, name: str, times: int = 1) -> None:
        """Waits until Nova was told it so often of each of the machine's ports."""
        for vif in machine.get_network_info() if self.events is not None else ():
            event = {"server_uuid": machine.uuid, "name": f"network-vif-{name}", "tag": vif["id"]}
            wanted = event if name == "deleted" else event | {"status": "completed"}
            self.until(lambda: (self.events or []).count(wanted) == times)  # noqa: B023  # called before the next

    def until(self, holds: Callable[[], bool]) -> None:
        """Raises AssertionError if it never does."""
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline, "it never came to it"
            time.sleep(0.05)


def _session(user: str, project: str) -> keystone_session.Session:
    auth = v3.Password(
        auth_url=os.environ["OS_AUTH_URL"],
        username=user,
        password=os.environ["OS_PASSWORD"],
        project_name=project,
        user_domain_id="default",
        project_domain_id="default",
    )
    return keystone_session.Session(auth=auth)


def _context(session: keystone_session.Session, *roles: str) -> nova_context.RequestContext:
    """A request to Nova, with the token and the catalogue as keystonemiddleware hands them on."""
    url = session.get_endpoint(service_type="network", interface="public")
    place = {"publicURL": url, "internalURL": url, "region": os.environ["OS_REGION_NAME"]}
    return nova_context.RequestContext(
        user_id=session.get_user_id(),
        project_id=session.get_project_id(),
        auth_token=session.get_token(),
        roles=list(roles),
        service_catalog=[{"type": "network", "name": "alcor", "endpoints": [place]}],
        is_admin="admin" in roles,
    )


def _wanted(**fields: Any) -> Any:
    return objects.NetworkRequest(**fields)


def _migration(machine: Any, kind: str) -> Any:
    made = objects.Migration(
        machine._context,
        instance_uuid=machine.uuid,
        source_compute=HOSTS[0],
        dest_compute=HOSTS[1],
        migration_type=kind,
        status="migrating",
    )
    made.create()
    return made


def extensions(cloud: Cloud) -> None:
    """What Nova asks for by alias is there, and what is not there is not said to be."""
    nova, context = cloud.nova, cloud.context
    assert nova.has_port_binding_extension(context)
    assert nova.has_substr_port_filtering_extension(context)
    assert nova.has_sg_shared_filter_extension(context)
    listed = {each["alias"] for each in cloud.user.list_extensions()["extensions"]}
    for alias, has in (
        ("multi-provider", nova.has_multi_provider_extension),
        ("dns-integration", nova.has_dns_extension),
        ("port-resource-request-groups", nova.has_extended_resource_request_extension),
        ("segment", nova.has_segment_extension),
        ("vnic-index", nova.has_vnic_index_extension),
        ("fip-port-details", nova.has_fip_port_details_extension),
    ):
        assert has(context) == (alias in listed), alias


def networks(cloud: Cloud) -> None:
    """Networks are found, validated and counted against the quota before a machine is made."""
    first, second = cloud.network(), cloud.network("10.21.0.0/24")
    found = cloud.nova.get(cloud.context, first["id"])
    assert found["id"] == first["id"]
    assert {first["id"], second["id"]} <= {each["id"] for each in cloud.nova.get_all(cloud.context)}
    wanted = objects.NetworkRequestList(
        objects=[_wanted(network_id=first["id"]), _wanted(network_id=second["id"])]
    )
    assert cloud.nova.validate_networks(cloud.context, wanted, 2) == 2
    assert cloud.nova.validate_networks(cloud.context, wanted, 100_000) < 100_000
    absent = objects.NetworkRequestList(objects=[_wanted(network_id=str(uuid4()))])
    _raises(exception.NetworkNotFound, cloud.nova.validate_networks, cloud.context, absent, 1)
    cloud.user.delete_subnet(second["subnet"]["id"])
    bare = objects.NetworkRequestList(objects=[_wanted(network_id=second["id"])])
    _raises(exception.NetworkRequiresSubnet, cloud.nova.validate_networks, cloud.context, bare, 1)


def spawn_and_delete(cloud: Cloud) -> None:
    """A port is created, bound and described; deletion leaves nothing."""
    network = cloud.network()
    machine = cloud.spawned(_wanted(network_id=network["id"]))
    (port,) = cloud.ports(machine)
    assert (port["device_owner"], port["binding:host_id"]) == ("compute:nova", HOSTS[0])
    assert (port["binding:vif_type"], port["binding:vnic_type"]) == ("ovs", "normal")
    (vif,) = cloud.nova.get_instance_nw_info(cloud.context, machine)
    assert (vif["type"], vif["id"], vif["address"]) == ("ovs", port["id"], port["mac_address"])
    assert vif["devname"] == f"tap{port['id']}"[:14]
    assert vif["ovs_interfaceid"] == port["id"]
    assert vif.is_neutron_filtering_enabled()
    assert not vif.is_hybrid_plug_enabled()
    assert (vif["network"]["bridge"], vif["network"]["meta"]["mtu"]) == ("br-int", network["mtu"])
    assert vif["network"]["meta"]["tunneled"] is True
    (subnet,) = vif["network"]["subnets"]
    assert subnet["cidr"] == "10.20.0.0/24"
    assert subnet["gateway"]["address"] == "10.20.0.1"
    assert [each["address"] for each in subnet["ips"]] == [port["fixed_ips"][0]["ip_address"]]
    cloud.until(lambda: cloud.port(port["id"])["status"] == "ACTIVE")
    cloud.hears(machine, "plugged")
    (vif,) = cloud.nova.get_instance_nw_info(cloud.context, machine)
    assert vif["active"] is True
    assert vif["preserve_on_delete"] is False
    cloud.nova.deallocate_for_instance(cloud.context, machine)
    assert cloud.ports(machine) == []


def several_interfaces(cloud: Cloud) -> None:
    """Networks, a fixed address and ports of the user's keep their order; the user's ports outlive the machine."""
    first, second = cloud.network(), cloud.network("10.21.0.0/24")
    own = cloud.user.create_port({"port": {"network_id": second["id"], "name": "mine"}})["port"]
    machine = cloud.spawned(
        _wanted(network_id=first["id"], address="10.20.0.99"),
        _wanted(port_id=own["id"]),
        _wanted(network_id=first["id"]),
    )
    found = cloud.nova.get_instance_nw_info(cloud.context, machine)
    assert found[0]["network"]["subnets"][0]["ips"][0]["address"] == "10.20.0.99"
    assert found[1]["id"] == own["id"]
    assert found[1]["preserve_on_delete"] is True
    other = cloud.instance()
    _raises(
        exception.PortInUse,
        cloud.nova.allocate_for_instance,
        cloud.context,
        other,
        objects.NetworkRequestList(objects=[_wanted(port_id=own["id"])]),
    )
    _raises(
        exception.FixedIpAlreadyInUse,
        cloud.nova.allocate_for_instance,
        cloud.context,
        other,
        objects.NetworkRequestList(objects=[_wanted(network_id=first["id"], address="10.20.0.99")]),
    )
    assert cloud.ports(other) == []
    cloud.nova.deallocate_for_instance(cloud.context, machine)
    assert cloud.ports(machine) == []
    left = cloud.port(own["id"])
    assert (left["device_id"], left["device_owner"], left["binding:host_id"]) == ("", "", "")
    assert left["binding:vif_type"] == "unbound"


def failed_binding(cloud: Cloud) -> None:
    """On a host without an agent binding fails, Nova says so, and nothing is left."""
    network, machine = cloud.network(), cloud.instance("nowhere")
    _raises(
        exception.PortBindingFailed,
        cloud.nova.allocate_for_instance,
        cloud.context,
        machine,
        objects.NetworkRequestList(objects=[_wanted(network_id=network["id"])]),
        bind_host_id="nowhere",
    )
    assert cloud.user.list_ports(network_id=network["id"])["ports"] == []


def attach_and_detach(cloud: Cloud) -> None:
    """Interfaces and addresses come and go while the machine lives."""
    first, second = cloud.network(), cloud.network("10.21.0.0/24")
    machine = cloud.spawned(_wanted(network_id=first["id"]))
    (kept,) = cloud.ports(machine)
    (more,) = cloud.nova.allocate_for_instance(
        cloud.context,
        machine,
        objects.NetworkRequestList(objects=[_wanted(network_id=second["id"])]),
        bind_host_id=HOSTS[0],
    )
    assert len(machine.get_network_info()) == 2
    assert cloud.nova.show_port(cloud.context, more["id"])["port"]["id"] == more["id"]
    left, allocation = cloud.nova.deallocate_port_for_instance(cloud.context, machine, more["id"])
    assert ([vif["id"] for vif in left], allocation) == ([kept["id"]], {})
    _raises(exception.PortNotFound, cloud.nova.show_port, cloud.context, more["id"])

    cloud.nova.add_fixed_ip_to_instance(cloud.context, machine, first["id"])
    addresses = [fixed["ip_address"] for fixed in cloud.port(kept["id"])["fixed_ips"]]
    assert len(addresses) == 2, addresses
    cloud.nova.remove_fixed_ip_from_instance(cloud.context, machine, addresses[1])
    assert [fixed["ip_address"] for fixed in cloud.port(kept["id"])["fixed_ips"]] == addresses[:1]
    cloud.nova.unbind_ports(cloud.context, [kept["id"]], detach=False)
    assert cloud.port(kept["id"])["binding:vif_type"] == "unbound"
    cloud.nova.deallocate_for_instance(cloud.context, machine)


def live_migration(cloud: Cloud) -> None:
    """Bound to the target, set up, activated, finished, and the source cleaned up, as conductor and computes do it."""
    network = cloud.network()
    machine = cloud.spawned(_wanted(network_id=network["id"]), _wanted(network_id=network["id"]))
    migration = _migration(machine, "live-migration")
    nova, context = cloud.nova, cloud.operator
    cloud.until(lambda: {port["status"] for port in cloud.ports(machine)} == {"ACTIVE"})
    cloud.hears(machine, "plugged")
    bindings = nova.bind_ports_to_host(context, machine, HOSTS[1])
    cloud.hears(machine, "plugged", times=2)  # before that Nova does not move the machine
    assert {each["status"] for each in bindings.values()} == {"INACTIVE"}
    assert {each["vif_type"] for each in bindings.values()} == {"ovs"}
    assert all(each["vif_details"]["bridge_name"] == "br-int" for each in bindings.values())
    nova.setup_networks_on_host(context, machine, HOSTS[1])
    assert all(port["binding:profile"]["migrating_to"] == HOSTS[1] for port in cloud.ports(machine))
    assert all(port["binding:host_id"] == HOSTS[0] for port in cloud.ports(machine))

    nova.migrate_instance_start(context, machine, migration)
    assert all(port["binding:host_id"] == HOSTS[1] for port in cloud.ports(machine))
    assert all(port["status"] == "ACTIVE" for port in cloud.ports(machine))
    nova.migrate_instance_start(context, machine, migration)
    nova.setup_networks_on_host(context, machine, HOSTS[1])
    nova.migrate_instance_finish(context, machine, migration, None)
    machine.host = HOSTS[1]
    machine.save()
    nova.setup_networks_on_host(context, machine, HOSTS[0], teardown=True)
    cloud.hears(machine, "plugged", times=3)
    for port in cloud.ports(machine):
        assert [each["host"] for each in cloud.admin.list_port_bindings(port["id"])["bindings"]] == [HOSTS[1]]
        assert "migrating_to" not in port["binding:profile"], port["binding:profile"]
    nova.deallocate_for_instance(context, machine)


def live_migration_rolled_back(cloud: Cloud) -> None:
    """What waited on the target goes; the machine's port stays as it was."""
    machine = cloud.spawned(_wanted(network_id=cloud.network()["id"]))
    nova, context = cloud.nova, cloud.operator
    (vif,) = machine.get_network_info()
    nova.bind_ports_to_host(context, machine, HOSTS[1])
    _raises(exception.PortBindingFailed, nova.bind_ports_to_host, context, machine, HOSTS[1])
    nova.setup_networks_on_host(context, machine, HOSTS[1])
    nova.setup_networks_on_host(context, machine, HOSTS[1], teardown=True)
    nova.delete_port_binding(context, vif["id"], HOSTS[1])
    port = cloud.port(vif["id"])
    assert (port["binding:host_id"], port["binding:profile"]) == (HOSTS[0], {})
    assert [each["host"] for each in cloud.admin.list_port_bindings(vif["id"])["bindings"]] == [HOSTS[0]]
    _raises(exception.PortBindingFailed, nova.bind_ports_to_host, context, machine, "nowhere")
    nova.cleanup_instance_network_on_host(context, machine, HOSTS[1])
    nova.deallocate_for_instance(context, machine)


def cold_migration(cloud: Cloud) -> None:
    """The port's host changes, there and back; the port is up on each."""
    machine = cloud.spawned(_wanted(network_id=cloud.network()["id"]))
    nova, context = cloud.nova, cloud.operator
    migration = _migration(machine, "migration")
    (vif,) = machine.get_network_info()
    nova.migrate_instance_start(context, machine, migration)
    assert cloud.port(vif["id"])["binding:host_id"] == HOSTS[0]
    nova.setup_networks_on_host(context, machine, HOSTS[1])
    nova.migrate_instance_finish(context, machine, migration, None)
    port = cloud.port(vif["id"])
    assert (port["binding:host_id"], port["binding:profile"]) == (HOSTS[1], {})
    cloud.until(lambda: cloud.port(vif["id"])["status"] == "ACTIVE")
    nova.setup_instance_network_on_host(context, machine, HOSTS[0])
    assert cloud.port(vif["id"])["binding:host_id"] == HOSTS[0]
    cloud.until(lambda: cloud.port(vif["id"])["status"] == "ACTIVE")
    nova.deallocate_for_instance(context, machine)


def resource_requests(cloud: Cloud) -> None:
    """A port with a minimum bandwidth asks the scheduler for it, and keeps what it was given."""
    nova, context = cloud.nova, cloud.context
    policy = cloud.admin.create_qos_policy({"policy": {"name": "nova", "shared": True}})["policy"]
    rule = {"minimum_bandwidth_rule": {"min_kbps": 1_000, "direction": "egress"}}
    cloud.admin.create_minimum_bandwidth_rule(policy["id"], rule)
    on_physical = {"provider:network_type": "vlan", "provider:physical_network": "public"}
    owner = {"tenant_id": context.project_id, "name": "physical"}
    network = cloud.network("10.22.0.0/24", client=cloud.admin, **owner, **on_physical)
    overlay = cloud.network()

    def asked(network: dict[str, Any]) -> tuple[Any, Any, Any]:
        owned = {"network_id": network["id"], "tenant_id": context.project_id}
        port = cloud.admin.create_port({"port": owned | {"qos_policy_id": policy["id"]}})["port"]
        wanted = objects.NetworkRequestList(objects=[_wanted(port_id=port["id"])])
        none = objects.InstancePCIRequests(requests=[])
        said, (group,), _ = nova.create_resource_requests(context, wanted, pci_requests=none)
        assert group.resources == {"NET_BW_EGR_KILOBIT_PER_SEC": 1_000}, group
        assert "CUSTOM_VNIC_TYPE_NORMAL" in group.required_traits, group
        return said, group, wanted

    said, group, _ = asked(network)
    assert (said.physnets, said.tunneled) == ({"public"}, False)
    assert "CUSTOM_PHYSNET_PUBLIC" in group.required_traits, group
    said, group, wanted = asked(overlay)
    assert (said.physnets, said.tunneled) == (set(), True)
    assert "CUSTOM_NETWORK_TUNNEL_PROVIDER" in group.required_traits, group

    machine, given = cloud.instance(), {group.requester_id: [str(uuid4())]}
    (vif,) = nova.allocate_for_instance(
        context, machine, wanted, bind_host_id=HOSTS[0], resource_provider_mapping=given
    )
    profile = cloud.port(vif["id"])["binding:profile"]
    assert profile == {"allocation": {asked_by: providers[0] for asked_by, providers in given.items()}}, (
        profile
    )
    nova.deallocate_for_instance(context, machine, requested_networks=wanted)
    assert cloud.port(vif["id"])["binding:profile"] == {}
    cloud.swept()
    cloud.admin.delete_qos_policy(policy["id"])


def security_groups(cloud: Cloud) -> None:
    """Groups by name at the start, and added and taken away later."""
    name = f"web-{uuid4().hex[:8]}"
    group = security_group_api.create_security_group(cloud.context, name, "of Nova's")
    security_group_api.add_rules(
        cloud.context,
        group["id"],
        name,
        [
            {
                "protocol": "tcp",
                "from_port": 80,
                "to_port": 80,
                "cidr": "0.0.0.0/0",
                "parent_group_id": group["id"],
            }
        ],
    )
    assert [
        rule["from_port"]
        for rule in security_group_api.get(cloud.context, group["id"])["rules"]
        if rule["protocol"]
    ] == [80]
    assert name in {each["name"] for each in security_group_api.list(cloud.context, cloud.context.project_id)}
    machine = cloud.spawned(_wanted(network_id=cloud.network()["id"]), groups=[name])
    (port,) = cloud.ports(machine)
    assert port["security_groups"] == [group["id"]]
    security_group_api.add_to_instance(cloud.context, machine, "default")
    found = security_group_api.get_instance_security_groups(cloud.context, machine)
    assert {each["name"] for each in found} == {name, "default"}
    security_group_api.remove_from_instance(cloud.context, machine, name)
    by_machine = security_group_api.get_instances_security_groups_bindings(
        cloud.context, [{"id": machine.uuid}], detailed=True
    )
    assert [each["name"] for each in by_machine[machine.uuid]] == ["default"]
    _raises(
        exception.SecurityGroupNotFound,
        cloud.nova.allocate_for_instance,
        cloud.context,
        cloud.instance(),
        objects.NetworkRequestList(objects=[_wanted(network_id=cloud.network()["id"])]),
        security_groups=["no such group"],
    )
    cloud.nova.deallocate_for_instance(cloud.context, machine)
    security_group_api.destroy(cloud.context, group)


def addresses(cloud: Cloud) -> None:
    """Machines are found by a part of their address, and segments are asked for where they exist."""
    network = cloud.network("10.23.0.0/24")
    machine = cloud.spawned(_wanted(network_id=network["id"], address="10.23.0.77"))
    found = cloud.nova.list_ports(cloud.context, fixed_ips="ip_address_substr=23.0.7", fields=["device_id"])[
        "ports"
    ]
    assert {"device_id": machine.uuid} in found, found
    assert cloud.nova.get_fixed_ip_by_address(cloud.context, "10.23.0.77")["instance_uuid"] == machine.uuid
    cloud.nova.get_segment_ids_for_network(cloud.context, network["id"])
    cloud.nova.get_segment_id_for_subnet(cloud.context, network["subnet"]["id"])
    cloud.nova.deallocate_for_instance(cloud.context, machine)


SESSIONS: Sessions = (
    extensions,
    networks,
    spawn_and_delete,
    several_interfaces,
    failed_binding,
    attach_and_detach,
    live_migration,
    live_migration_rolled_back,
    cold_migration,
    resource_requests,
    security_groups,
    addresses,
)


def _raises(kind: type[Exception], ask: Callable[..., Any], *words: Any, **more: Any) -> None:
    try:
        answer = ask(*words, **more)
    except kind:
        return
    raise AssertionError(f"{ask.__name__} did not raise {kind.__name__} but answered {answer}")


class _Events(BaseHTTPRequestHandler):
    """Nova's API for events: takes what its own schema allows, from who has a token."""

    heard: list[dict[str, str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        validators._SchemaValidator(server_external_events.create).validate(body)
        is_known = self.path == "/v2.1/os-server-external-events" and self.headers["X-Auth-Token"]
        self.heard += body["events"] if is_known else []
        answer = json.dumps({"events": [event | {"code": 200} for event in body["events"]]}).encode()
        self.send_response(200 if is_known else 401)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *words: Any) -> None:
        """Says nothing: what is printed are outcomes."""


def prepared(configuration: str) -> None:
    """Nova's settings, objects and databases."""
    nova.conf.CONF(["--config-file", configuration], project="nova", default_config_files=[configuration])
    nova_rpc.init(nova.conf.CONF)
    objects.register_all()
    for database, models in ((main_db, main_models), (api_db, api_models)):
        database.configure(nova.conf.CONF)
        models.BASE.metadata.create_all(database.context_manager.writer.get_engine())


def main() -> None:
    """Each session once."""
    prepared(sys.argv[1])
    cloud = Cloud()
    if sys.argv[2:]:
        server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), _Events)
        Thread(target=server.serve_forever, daemon=True).start()
        cloud.events = _Events.heard
    for session in SESSIONS:
        began, reason = time.monotonic(), ""
        try:
            session(cloud)
        except Exception as wrong:  # noqa: BLE001  # whatever Nova meets is a failure with its reason
            here = [
                frame.line
                for frame in traceback.extract_tb(wrong.__traceback__)
                if frame.filename == __file__
            ]
            reason = f"{type(wrong).__name__}: {' '.join(str(wrong).split())} at `{here[-1]}`"[:300]
        cloud.swept()
        outcome = "fail" if reason else "pass"
        print(
            f"nova.network.{session.__name__}", outcome, f"{time.monotonic() - began:.2f}", reason, sep="\t"
        )


if __name__ == "__main__":
    main()
