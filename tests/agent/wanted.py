# SPDX-License-Identifier: Apache-2.0
"""Rows by hand, as push would send them: networks, ports on hosts, security groups; and a session fed with them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from alcor.agent.rows import Changed
from alcor.agent.session import Session
from alcor.base.net import Cidr, Ip, Mac
from alcor.base.wire import alcor_pb2 as wire
from alcor.dataplane.rows import Row
from alcor.features.address_group.flows import AddressRow
from alcor.features.network.flows import NetworkRow, WireRow
from alcor.features.port.flows import (
    AddressPair,
    FloodRow,
    NeighbourRow,
    OwnerRow,
    PortRow,
    SharedAddressRow,
    SharedMacRow,
    one_address,
    owner_key,
    shared_key,
)
from alcor.features.security_group.flows import STATELESS, GroupSetRow, RuleRow, StatelessRow

Rows = dict[str, dict[str, Row]]


@dataclass(frozen=True)
class Nic:
    """A port as tests speak of it; `id` is also the iface-id of its interface."""

    id: str
    network: str
    host: str
    mac: Mac
    addresses: tuple[Ip, ...]
    groups: tuple[str, ...] = ()
    pairs: tuple[AddressPair, ...] = ()
    port_security: bool = True
    admin_state_up: bool = True
    generation: int = 1
    is_active: bool = True  # on this host; else another nic with the same id stands for it
    trunk_port: str = ""  # of a subport: the id of the port by whose interface it is reached,
    vlan: int = 0  # with which tag,
    number: int = 0  # and its number on the host

    @property
    def ipv4(self) -> Ip:
        return next(address for address in self.addresses if "." in address)

    @property
    def ipv6(self) -> Ip:
        return next(address for address in self.addresses if ":" in address)


@dataclass
class Wanted:
    """What all hosts together are to know. `tunnel_ips` are theirs."""

    tunnel_ips: dict[str, Ip]
    vnis: dict[str, int] = field(default_factory=dict)
    nics: dict[str, Nic] = field(default_factory=dict)
    rules: dict[str, RuleRow] = field(default_factory=dict)
    transparent: set[str] = field(default_factory=set)  # networks that carry tags of machines
    networks_down: set[str] = field(default_factory=set)
    wires: dict[str, tuple[WireRow, ...]] = field(default_factory=dict)  # of networks that no tunnel carries
    stateless: set[str] = field(default_factory=set)  # security groups
    address_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[tuple[str, ...], int] = field(default_factory=dict)
    moved: Rows = field(default_factory=dict)  # by host and key: what is known of moves
    early: dict[str, dict[str, str]] = field(
        default_factory=dict
    )  # host -> port id -> where it believes it to be
    owners: dict[Ip, str] = field(
        default_factory=dict
    )  # address of pairs -> id of the port that claimed it last

    def rule(self, group: str, direction: str, version: int = 4, **fields: object) -> str:
        """A rule with the next number; answers its id."""
        number = max((rule.number for rule in self.rules.values()), default=0) + 1
        key = f"rule-{number}"
        given = {"group": group, "number": number, "direction": direction, "version": version, **fields}
        self.rules[key] = msgspec.convert(given, RuleRow)
        return key

    def set_number(self, groups: Iterable[str]) -> int:
        """The number of a set of groups; 0 for none."""
        wanted = tuple(sorted(groups))
        return self.sets.setdefault(wanted, len(self.sets) + 1) if wanted else 0

    def of_host(self, host: str) -> Rows:
        """Every row that a host with all these networks and groups is sent."""
        rows: Rows = {f"host:{host}": {}}
        rows[f"host:{host}"].update(self.moved.get(host, {}))
        for network, vni in self.vnis.items():
            is_up = network not in self.networks_down
            rows[f"network:{network}"] = {
                "network": NetworkRow(
                    id=network,
                    vni=vni,
                    mtu=1450,
                    admin_state_up=is_up,
                    wires=self.wires.get(network, ()),
                    vlan_transparent=network in self.transparent,
                )
            }
            rows[f"neighbours:{network}"], rows[f"flood:{network}"] = {}, {}
        for nic in self.nics.values():
            self._place(rows, host, nic)
        for groups, number in self.sets.items():
            if any(tuple(sorted(nic.groups)) == groups for nic in self.nics.values()):
                for group in groups:
                    rows.setdefault(f"members:{group}", {})[str(number)] = GroupSetRow(number=number)
        for key, rule in self.rules.items():
            rows.setdefault(f"security_group:{rule.group}", {})[key] = rule
            if rule.remote_group:
                rows.setdefault(f"members:{rule.remote_group}", {})
        for group in self.stateless:
            rows.setdefault(f"security_group:{group}", {})[STATELESS] = StatelessRow(group=group)
        for name, cidrs in self.address_groups.items():
            rows[f"address_group:{name}"] = {cidr: AddressRow(cidr=Cidr(cidr)) for cidr in cidrs}
        return rows

    def _place(self, rows: Rows, host: str, nic: Nic) -> None:
        group_set = self.set_number(nic.groups)
        for group in nic.groups:
            rows.setdefault(f"security_group:{group}", {})
        if nic.host == host:
            rows[f"host:{host}"][nic.id] = PortRow(
                id=nic.id,
                network=nic.network,
                mac=nic.mac,
                addresses=nic.addresses,
                pairs=nic.pairs,
                port_security=nic.port_security,
                admin_state_up=nic.admin_state_up,
                group_set=group_set,
                groups=nic.groups,
                generation=nic.generation,
                is_active=nic.is_active,
                trunk_port=nic.trunk_port,
                vlan=nic.vlan,
                number=nic.number,
            )
        at = self.early.get(host, {}).get(nic.id, nic.host if nic.is_active else "")
        if nic.admin_state_up and at:
            tunnel_ip = self.tunnel_ips[at]
            rows[f"neighbours:{nic.network}"][nic.id] = NeighbourRow(
                mac=nic.mac,
                addresses=nic.addresses,
                pairs=nic.pairs,
                host=at,
                tunnel_ip=tunnel_ip,
                group_set=group_set,
                generation=nic.generation,
            )
            rows[f"flood:{nic.network}"][nic.host] = FloodRow(
                host=nic.host, tunnel_ip=self.tunnel_ips[nic.host]
            )
            for each in nic.pairs:
                self._place_pair(rows[f"neighbours:{nic.network}"], nic, each)

    def _place_pair(self, rows: dict[str, Row], nic: Nic, pair: AddressPair) -> None:
        if pair.mac != nic.mac:
            rows[shared_key(pair.mac)] = SharedMacRow(mac=pair.mac)
        if address := one_address(pair):
            rows[shared_key(address)] = SharedAddressRow(address=address)
            if self.owners.get(address) == nic.id:
                rows[owner_key(address)] = OwnerRow(port=nic.id, address=address, mac=pair.mac)


class Feed:
    """Push, for one session: sends snapshots of new scopes, what changed in others, and leaves what is gone."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sent: Rows = {}
        self._revision = 0

    def reopen(self) -> None:
        """The stream has ended and a new one begins; the host has what it had."""
        self._session.hello()

    def send(self, rows: Rows, *, is_whole: bool = True) -> Changed:
        """Brings the session to `rows`; answers all that changed."""
        changed = Changed()
        for each in self.messages(rows, is_whole=is_whole):
            changed.update(each)
        return changed

    def messages(self, rows: Rows, *, is_whole: bool = True) -> Iterator[Changed]:
        """The same, with what each message changed."""
        for scope in rows.keys() - self._sent.keys():
            enter = wire.Enter(scope=scope, rows=_wire_rows("", rows[scope]), last=True)
            yield self._receive(wire.Envelope(enter=enter))
        differences = []
        for scope in rows.keys() & self._sent.keys():
            old, new = self._sent[scope], rows[scope]
            differences += _wire_rows(scope, {key: row for key, row in new.items() if old.get(key) != row})
            differences += [wire.Row(scope=scope, key=key) for key in old.keys() - new.keys()]
        delta = wire.Delta(to=_position(self._revision + 1), rows=differences, whole=is_whole)
        if self._revision:
            delta.after.CopyFrom(_position(self._revision))
        self._revision += 1
        yield self._receive(wire.Envelope(delta=delta))
        for scope in self._sent.keys() - rows.keys():
            yield self._receive(wire.Envelope(leave=wire.Leave(scope=scope)))
        self._sent = {scope: dict(keyed) for scope, keyed in rows.items()}

    def _receive(self, envelope: wire.Envelope) -> Changed:
        envelope.sequence = self._session.received + 1
        return self._session.receive(envelope.SerializeToString())


def _wire_rows(scope: str, rows: dict[str, Row]) -> list[wire.Row]:
    return [wire.Row(scope=scope, key=key, body=msgspec.msgpack.encode(row)) for key, row in rows.items()]


def _position(revision: int) -> wire.Position:
    return wire.Position(revision=revision, turn=revision.to_bytes(16, "big"))


def nic(number: int, network: str, host: str, **fields: object) -> Nic:
    """A port with MAC and addresses that follow from its number."""
    defaults: dict[str, object] = {
        "id": f"{number:08d}-0000-4000-8000-000000000000",
        "network": network,
        "host": host,
        "mac": Mac(f"fa:16:3e:00:00:{number:02x}"),
        "addresses": (Ip(f"10.0.0.{number}"), Ip(f"fd00::{number:x}")),
    }
    return Nic(**(defaults | fields))  # type: ignore[arg-type]  # a keyword for each field


def pair(cidr: str, mac: str) -> AddressPair:
    """An allowed address pair."""
    return AddressPair(mac=Mac(mac), cidr=Cidr(cidr))
