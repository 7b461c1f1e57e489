# SPDX-License-Identifier: Apache-2.0
"""A cloud of any size as objects, for benchmarks that begin with one: hosts, networks, groups and bound ports."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from alcor.base.net import Cidr, Ip, ip_of, mac_of
from alcor.features.agent.model import HOST, Host
from alcor.features.network.model import NETWORK, Network
from alcor.features.port.model import PORT, FixedIp, Port
from alcor.features.security_group import model as groups
from alcor.features.subnet.model import SUBNET, Subnet
from alcor.store.declare import Stored, Table

Placed = tuple[Table[Any], Stored]

_RULES = (("ingress", True), ("egress", False))  # of each group: direction, whether from the group itself


@dataclass(frozen=True)
class Shape:
    """How large a cloud is. Ports fall on hosts at random and on networks in turn; a project has `networks_each`."""

    hosts: int
    networks: int
    ports: int
    networks_each: int = 5


class Cloud:
    """Objects of a cloud, the same for the same shape and seed."""

    def __init__(self, shape: Shape, seed: int = 1) -> None:
        self._random = Random(seed)
        self._ports = shape.ports
        self.hosts = [f"host-{number:04}" for number in range(shape.hosts)]
        self.networks = [self._new_id() for _ in range(shape.networks)]
        self._subnets = [self._new_id() for _ in range(shape.networks)]
        projects = -(-shape.networks // shape.networks_each)
        self._projects = [self._new_id() for _ in range(projects)]
        self._groups = [self._new_id() for _ in range(projects)]
        self._project_of = [place // shape.networks_each for place in range(shape.networks)]

    def objects(self) -> Iterator[Placed]:
        """All objects, table by table, referenced ones first."""
        for number, host in enumerate(self.hosts):
            yield HOST, Host(id=host, tunnel_ip=ip_of(0x0A000001 + number, 4))
        for make in (self._group, self._group_set, self._rules):
            for number in range(len(self._groups)):
                yield from make(number)
        for make in (self._network, self._subnet):
            for number in range(len(self.networks)):
                yield from make(number)
        for number in range(self._ports):
            yield PORT, self.port(number, self._random.choice(self.hosts))

    def port(self, number: int, host: str) -> Port:
        """The port with this number, bound to a host."""
        place = number % len(self.networks)
        owner = self._project_of[place]
        ip = ip_of(0x0A000010 + number // len(self.networks), 4)
        return Port(
            id=self._new_id(),
            project_id=self._projects[owner],
            network_id=self.networks[place],
            mac_address=mac_of(0xFA163E000000 + number),
            fixed_ips=(FixedIp(self._subnets[place], ip),),
            device_id=self._new_id(),
            device_owner="compute:nova",
            security_groups=(self._groups[owner],),
            group_set=owner + 1,
            host=host,
            vif_type="ovs",
            generation=1,
            created_at="2026-11-22T10:00:00Z",
            updated_at="2026-11-22T10:00:00Z",
        )

    def _group(self, number: int) -> Iterator[Placed]:
        group, project = self._groups[number], self._projects[number]
        yield groups.SECURITY_GROUP, groups.SecurityGroup(id=group, project_id=project, name="default")

    def _group_set(self, number: int) -> Iterator[Placed]:
        group_set = groups.GroupSet(id=str(number + 1), number=number + 1, groups=(self._groups[number],))
        yield groups.GROUP_SET, group_set

    def _rules(self, number: int) -> Iterator[Placed]:
        group, project = self._groups[number], self._projects[number]
        for place, (direction, is_own) in enumerate(_RULES):
            rule = groups.SecurityGroupRule(
                id=self._new_id(),
                project_id=project,
                security_group_id=group,
                direction=direction,
                remote_group_id=group if is_own else None,
                number=number * len(_RULES) + place + 1,
            )
            yield groups.SECURITY_GROUP_RULE, rule

    def _network(self, number: int) -> Iterator[Placed]:
        project, network = self._projects[self._project_of[number]], self.networks[number]
        yield NETWORK, Network(id=network, project_id=project, vni=number + 1, mtu=1450)

    def _subnet(self, number: int) -> Iterator[Placed]:
        subnet = Subnet(
            id=self._subnets[number],
            project_id=self._projects[self._project_of[number]],
            network_id=self.networks[number],
            ip_version=4,
            cidr=Cidr("10.0.0.0/8"),
            gateway_ip=Ip("10.0.0.1"),
        )
        yield SUBNET, subnet

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
