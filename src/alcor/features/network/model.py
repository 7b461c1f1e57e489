# SPDX-License-Identifier: Apache-2.0
"""What a network is, and the segments by which hosts carry it."""

from typing import Annotated

import msgspec

from alcor.base.config import Settings
from alcor.base.errors import Conflict, NotFound, Refusal
from alcor.resource.declare import PROJECT_LENGTH_MAX, Api, Standard
from alcor.resource.parse import parse_int, parse_uuid
from alcor.store.declare import Index, Pool, Reference, Table

VXLAN, VLAN, FLAT, LOCAL = "vxlan", "vlan", "flat", "local"
GIVEN_BY = ("network_type", "physical_network", "segmentation_id")  # fields of a Provider
TYPES_WITH_BRIDGE = (VLAN, FLAT)  # carried by a host's bridge to a physical network
VNI_MAX = (1 << 24) - 1
RANGE_TYPES = (VLAN, VXLAN, "gre", "geneve")  # of segment ranges as Neutron knows them
RANGE_MAX = (1 << 32) - 1
# What tells networks apart in a pipeline that no VNI tells apart.
NUMBERS_WITHOUT_VNI = ((VNI_MAX + 1, (1 << 32) - 1),)

Place = tuple[str, int, int]  # physical network (empty: none), first and last number


class Provider(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """How a network is carried: its type, and which physical network and number where the type has them."""

    network_type: str
    physical_network: str | None = None
    segmentation_id: int | None = None


def parse_segments(value: object) -> tuple[Provider, ...]:
    """Segments as a network is asked to have them. Raises ValueError."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError(f"'{value}' is not a list of segments")
    return tuple(map(_parse_segment, value))


def _parse_segment(given: dict[str, object]) -> Provider:
    names = {f"provider:{field}" for field in GIVEN_BY}
    unknown = sorted(str(name) for name in given.keys() - names)
    if unknown:
        raise ValueError(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
    kind, place = given.get("provider:network_type") or "", given.get("provider:physical_network")
    if not isinstance(kind, str) or not isinstance(place, str | None):
        raise ValueError(f"'{given}' is no segment")
    number = given.get("provider:segmentation_id")
    return Provider(kind, place or None, parse_int(number) if number else None)


def _show_segments(segments: tuple[Provider, ...]) -> object:
    if not segments:
        return msgspec.UNSET
    return [{f"provider:{field}": getattr(each, field) for field in GIVEN_BY} for each in segments]


def _shown_of_one(value: object) -> object:
    return msgspec.UNSET if value in {"", 0} else value


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
    vlan_transparent: Annotated[bool, Api(sort=False)] = False  # it carries its machines' own VLAN tags
    network_type: Annotated[
        str,
        Api(
            name="provider:network_type",
            parts="providers",
            put=True,
            max_length=32,
            set_by="admin",
            seen_by="admin",
            sort=False,
            answer=_shown_of_one,
        ),
    ] = ""  # this and the next two: of the only segment; empty, and not answered, where there are several
    physical_network: Annotated[
        str | None,
        Api(
            name="provider:physical_network",
            parts="providers",
            put=True,
            max_length=64,
            set_by="admin",
            seen_by="admin",
            sort=False,
            answer=_shown_of_one,
        ),
    ] = None
    segmentation_id: Annotated[
        int | None,
        Api(
            name="provider:segmentation_id",
            parts="providers",
            put=True,
            set_by="admin",
            seen_by="admin",
            sort=False,
            answer=_shown_of_one,
        ),
    ] = None
    segments: Annotated[
        tuple[Provider, ...],
        Api(
            put=True,
            set_by="admin",
            seen_by="admin",
            filter=False,
            sort=False,
            parse=parse_segments,
            answer=_show_segments,
        ),
    ] = ()  # where there are several
    vni: Annotated[int, Api(post=False, visible=False, filter=False, sort=False)] = 0

    @property
    def providers(self) -> tuple[Provider, ...]:
        """How it is carried, the first that a host can is its way."""
        return self.segments or (Provider(self.network_type, self.physical_network, self.segmentation_id),)


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

    project_id: Annotated[
        str, Api(visible=False, filter=False, sort=False, set_by="admin", max_length=PROJECT_LENGTH_MAX)
    ] = ""
    network_id: Annotated[str, Api(required=True, parse=parse_uuid)]
    network_type: Annotated[str, Api(required=True, max_length=32)]
    physical_network: Annotated[str | None, Api(max_length=64)] = None
    segmentation_id: Annotated[int | None, Api(filter=False)] = None
    name: Annotated[str | None, Api(put=True, max_length=255)] = None
    segment_index: Annotated[int, Api(post=False, visible=False, filter=False, sort=False)] = 0

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


def segment_in_use(id: str, reason: str) -> Conflict:
    """The refusal to delete a segment."""
    return Conflict(f"Segment '{id}' cannot be deleted: {reason}.", type="SegmentInUse")


SEGMENT_NUMBERS: Pool[Segment] = Pool(
    "segment", holds=_held, taken=lambda segment, key, number: segment_taken(segment.provider, number)
)
SEGMENTS_OF_NETWORK: Index[Segment] = Index("network_id", lambda segment: (segment.network_id,))
BLOCK = 2_048  # numbers; those of one block stand under one key
SEGMENTS_OF_BLOCK: Index[Segment] = Index(
    "block",
    lambda segment: (
        ((*pool_key(segment.provider), segment.segmentation_id // BLOCK),) if segment.segmentation_id else ()
    ),
)

SEGMENT: Table[Segment] = Table(
    "segment",
    Segment,
    indexes=(SEGMENTS_OF_NETWORK, SEGMENTS_OF_BLOCK),
    references=(
        Reference(
            "network_id",
            NETWORK,
            lambda segment: (segment.network_id,),
            missing=lambda id: NotFound(f"Network {id} could not be found.", type="NetworkNotFound"),
            by=SEGMENTS_OF_NETWORK,
        ),
    ),
    pools=(SEGMENT_NUMBERS,),
)


class SegmentRange(Standard, frozen=True, kw_only=True):
    """Numbers for the segments of networks of one type: of one project's, or of everybody's. Those that the settings
    give everybody are the default ones.
    """

    project_id: Annotated[
        str,
        Api(
            set_by="admin",
            max_length=PROJECT_LENGTH_MAX,
            answer=lambda project: project or None,
            schema={"type": ["string", "null"]},
        ),
    ] = ""  # empty: everybody's
    name: Annotated[str, Api(put=True, max_length=255)] = ""
    default: Annotated[bool, Api(post=False, filter=False, sort=False)] = False
    shared: Annotated[bool, Api(filter=False, sort=False)] = True
    network_type: Annotated[str, Api(choices=RANGE_TYPES, sort=False)] = ""
    physical_network: Annotated[str, Api(max_length=64, sort=False)] = ""  # empty: the type has none
    minimum: Annotated[
        int, Api(required=True, put=True, minimum=1, maximum=RANGE_MAX, filter=False, sort=False)
    ]
    maximum: Annotated[
        int, Api(required=True, put=True, minimum=1, maximum=RANGE_MAX, filter=False, sort=False)
    ]

    @property
    def place(self) -> Place:
        """Where its numbers are."""
        return self.physical_network, self.minimum, self.maximum

    @property
    def key(self) -> tuple[str, str]:
        """Among whom its numbers are unique, as `pool_key`."""
        return self.network_type, self.physical_network


def configured(settings: Settings, network_type: str) -> list[Place]:
    """Where the settings let everybody's networks of the type have their numbers."""
    if network_type == VLAN:
        return [place for place in settings.network_vlan_ranges if place[1] <= place[2]]
    return [("", first, last) for first, last in settings.vni_ranges]


# Those of one type, and those of one type and project (empty: everybody's); not the default ones.
RANGES_OF_TYPE: Index[SegmentRange] = Index(
    "network_type", lambda each: () if each.default else (each.network_type,)
)
RANGES_OF_OWNER: Index[SegmentRange] = Index(
    "owner", lambda each: () if each.default else ((each.network_type, each.project_id),)
)
DEFAULT_RANGES: Index[SegmentRange] = Index("default", lambda each: (True,) if each.default else ())

SEGMENT_RANGE: Table[SegmentRange] = Table(
    "network_segment_range",
    SegmentRange,
    indexes=(RANGES_OF_TYPE, RANGES_OF_OWNER, DEFAULT_RANGES),
    missing=lambda id: NotFound(
        f"Network Segment Range {id} could not be found.", type="NetworkSegmentRangeNotFound"
    ),
)
