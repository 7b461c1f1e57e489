# SPDX-License-Identifier: Apache-2.0
"""What a network is, and the segments by which hosts carry it."""

from typing import Annotated

import msgspec

from alcor.base.errors import Conflict, Refusal
from alcor.resource.declare import Api, Standard
from alcor.store.declare import Index, Pool, Reference, Table

VXLAN, VLAN, FLAT, LOCAL = "vxlan", "vlan", "flat", "local"
TYPES_WITH_BRIDGE = (VLAN, FLAT)  # carried by a host's bridge to a physical network
VNI_MAX = (1 << 24) - 1
# What tells networks apart in a pipeline that no VNI tells apart.
NUMBERS_WITHOUT_VNI = ((VNI_MAX + 1, (1 << 32) - 1),)


class Provider(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How a network is carried: its type, and which physical network and number where the type has them."""

    network_type: str
    physical_network: str | None = None
    segmentation_id: int | None = None


class Network(Standard, frozen=True, kw_only=True):
    """A layer-2 segment. Networks are told apart in a pipeline by `vni`, unique among living networks: the VNI
    (RFC 7348) of those that are tunnelled, a number beyond all VNIs for others.
    """

    name: Annotated[str, Api(put=True, max_length=255)] = ""
    admin_state_up: Annotated[bool, Api(put=True)] = True
    shared: Annotated[bool, Api(put=True, set_by="admin", sort=False)] = False
    external: Annotated[bool, Api(name="router:external", put=True, set_by="admin", sort=False)] = False
    is_default: Annotated[bool, Api(put=True, set_by="admin", sort=False)] = False  # among external networks
    port_security_enabled: Annotated[bool, Api(put=True, filter=False, sort=False)] = (
        True  # default for the network's ports
    )
    mtu: Annotated[int, Api(put=True, minimum=0)] = 0  # bytes of an IP packet; asked for as 0: the most
    network_type: Annotated[
        str,
        Api(
            name="provider:network_type",
            put=True,
            max_length=32,
            set_by="admin",
            seen_by="admin",
            sort=False,
        ),
    ] = ""
    physical_network: Annotated[
        str | None,
        Api(
            name="provider:physical_network",
            put=True,
            max_length=64,
            set_by="admin",
            seen_by="admin",
            sort=False,
        ),
    ] = None
    segmentation_id: Annotated[
        int | None,
        Api(name="provider:segmentation_id", put=True, set_by="admin", seen_by="admin", sort=False),
    ] = None
    vni: Annotated[int, Api(post=False, visible=False, filter=False, sort=False)] = 0

    @property
    def providers(self) -> tuple[Provider, ...]:
        """How it is carried, the first that a host can is its way."""
        return (Provider(self.network_type, self.physical_network, self.segmentation_id),)


def _tunnel_in_use(number: int) -> Conflict:
    return Conflict(f"Unable to create the network. The tunnel ID {number} is in use.", type="TunnelIdInUse")


NUMBERS: Pool[Network] = Pool(
    "vni",
    holds=lambda network: (("", network.vni),) if network.vni > VNI_MAX else (),
    taken=lambda network, key, number: _tunnel_in_use(number),
)
BY_PROJECT: Index[Network] = Index("project_id", lambda network: (network.project_id,))
BY_NAME: Index[Network] = Index("name", lambda network: (network.name,) if network.name else ())
FOR_ALL: Index[Network] = Index("for_all", lambda network: (True,) if network.shared else ())
THE_DEFAULT: Index[Network] = Index("default", lambda network: (True,) if network.is_default else ())

NETWORK: Table[Network] = Table(
    "network", Network, indexes=(BY_PROJECT, BY_NAME, FOR_ALL, THE_DEFAULT), pools=(NUMBERS,)
)


class Segment(Standard, frozen=True, kw_only=True):
    """One of the ways in which a network is carried; a network has at least one, in order of `segment_index`."""

    network_id: Annotated[str, Api(required=True)]
    network_type: Annotated[str, Api(required=True, max_length=32)]
    physical_network: Annotated[str | None, Api(max_length=64)] = None
    segmentation_id: Annotated[int | None, Api(filter=False)] = None
    name: Annotated[str | None, Api(put=True, max_length=255)] = None
    segment_index: Annotated[int, Api(post=False, visible=False)] = 0

    @property
    def provider(self) -> Provider:
        """How it is carried."""
        return Provider(self.network_type, self.physical_network, self.segmentation_id)


def pool_key(provider: Provider) -> tuple[str, str]:
    """Among whom its number is unique."""
    return provider.network_type, provider.physical_network or ""


def _held(segment: Segment) -> tuple[tuple[tuple[str, str], int], ...]:
    if segment.network_type == LOCAL:
        return ()
    return ((pool_key(segment.provider), segment.segmentation_id or 0),)


def segment_taken(provider: Provider, number: int) -> Refusal:
    """The refusal of what another segment holds."""
    where = provider.physical_network
    match provider.network_type:
        case "flat":
            message = f"Unable to create the flat network. Physical network {where} is in use."
            return Conflict(message, type="FlatNetworkInUse")
        case "vlan":
            message = (
                f"Unable to create the network. The VLAN {number} on physical network {where} is in use."
            )
            return Conflict(message, type="VlanIdInUse")
        case _:
            return _tunnel_in_use(number)


SEGMENT_NUMBERS: Pool[Segment] = Pool(
    "segment", holds=_held, taken=lambda segment, key, number: segment_taken(segment.provider, number)
)
SEGMENTS_OF_NETWORK: Index[Segment] = Index("network_id", lambda segment: (segment.network_id,))

SEGMENT: Table[Segment] = Table(
    "segment",
    Segment,
    indexes=(SEGMENTS_OF_NETWORK,),
    references=(
        Reference("network_id", NETWORK, lambda segment: (segment.network_id,), by=SEGMENTS_OF_NETWORK),
    ),
    pools=(SEGMENT_NUMBERS,),
)
