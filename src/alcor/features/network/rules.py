# SPDX-License-Identifier: Apache-2.0
"""What may be done with networks."""

import msgspec

from alcor.base.errors import Conflict, Invalid
from alcor.features.agent.model import AGENT
from alcor.features.agent.model import BY_HOST as AGENTS_OF_HOST
from alcor.features.network.model import (
    BY_NAME,
    BY_PROJECT,
    FLAT,
    FOR_ALL,
    GIVEN_BY,
    NETWORK,
    NUMBERS,
    NUMBERS_WITHOUT_VNI,
    SEGMENT,
    SEGMENTS_OF_NETWORK,
    THE_DEFAULT,
    TYPES_WITH_BRIDGE,
    VLAN,
    VNI_MAX,
    VXLAN,
    Network,
    Provider,
    Segment,
)
from alcor.features.network.provider import check, check_transparent, mtu_max, refused, reserve
from alcor.resource.declare import Computed, Context, Extension, Resource, RestFeature, revised
from alcor.store.reader import Reader, Txn


def on_create(txn: Txn, ctx: Context, new: Network) -> Network:
    """The network with a number of its own. Raises Invalid for what cannot be carried, and where no number is left."""
    is_asked = any(getattr(new, field) is not None for field in GIVEN_BY if field in ctx.given)
    if new.segments:
        _check_segments(new, is_asked)
    providers = reserve(txn, ctx, new.project_id, new.providers if is_asked or new.segments else ())
    check_transparent(new, providers)
    new = _only_default(txn, _carried_by(new, providers))
    return msgspec.structs.replace(new, vni=_number(txn, providers), mtu=_mtu(ctx, new))


def after_create(txn: Txn, ctx: Context, made: Network) -> None:
    """Writes down by what segments the network is carried: their numbers are taken from then on."""
    for index, provider in enumerate(made.providers):
        txn.insert(
            SEGMENT,
            Segment(
                id=ctx.new_id(),
                network_id=made.id,
                segment_index=index,
                created_at=ctx.now,
                updated_at=ctx.now,
                revision_number=1,
                **msgspec.structs.asdict(provider),
            ),
        )


def numbered(txn: Txn, ctx: Context, network: Network, segment: Segment) -> Segment:
    """The segment of a network, with a number if it asks for none. Raises what no network may be carried by."""
    (provider,) = reserve(txn, ctx, network.project_id, (segment.provider,))
    return msgspec.structs.replace(segment, **msgspec.structs.asdict(provider))


def recarried(txn: Txn, ctx: Context, network: Network, without: str = "") -> None:
    """Carries the network by the segments that it has by now, in their order, but for one that goes."""
    segments = sorted(txn.find(SEGMENT, SEGMENTS_OF_NETWORK, network.id), key=lambda each: each.segment_index)
    providers = tuple(segment.provider for segment in segments if segment.id != without)
    changed = _carried_by(network, providers)
    vxlan = next((each.segmentation_id for each in providers if each.network_type == VXLAN), None)
    if vxlan is not None or network.vni <= VNI_MAX:
        changed = msgspec.structs.replace(changed, vni=vxlan or _number(txn, providers))
    check_transparent(network, providers)
    mtu = min(network.mtu, mtu_max(ctx, changed))
    txn.update(NETWORK, revised(ctx, changed, mtu=mtu))


def on_update(txn: Txn, ctx: Context, old: Network, new: Network) -> Network:
    """The changed network. Of what carries it only the number of a VLAN can be changed."""
    _check_read_only(ctx, old, new)
    if new.segmentation_id != old.segmentation_id:
        _renumber(txn, ctx, old, new)
    if "mtu" in ctx.given:
        new = msgspec.structs.replace(new, mtu=_mtu(ctx, new))
    return _only_default(txn, new)


def on_delete(txn: Txn, ctx: Context, old: Network) -> None:
    """Nothing to add: its ports refuse through their reference, and its subnets and segments go with it."""


def is_shared(reader: Reader, project_id: str, network: Network) -> bool:
    """Whether every project may see the network and have ports on it."""
    return network.shared


def shared_ids(reader: Reader, project_id: str) -> list[str]:
    """The networks that every project sees."""
    return [network.id for network in reader.find(NETWORK, FOR_ALL, True)]


def carrier(reader: Reader, network: Network, host: str) -> Provider | None:
    """The first way in which the host can carry the network: one that takes no bridge to a physical network, or whose
    bridge it has.
    """
    agent = reader.first(AGENT, AGENTS_OF_HOST, host)
    mappings = agent.configurations.get("bridge_mappings", {}) if agent else {}
    assert isinstance(mappings, dict), f"the agent of {host} was registered with {mappings!r}"
    for provider in network.providers:
        if provider.network_type not in TYPES_WITH_BRIDGE or provider.physical_network in mappings:
            return provider
    return None


def segment_on(reader: Reader, network: Network, host: str) -> Segment | None:
    """The segment by which the host carries the network."""
    way = carrier(reader, network, host)
    return next(
        (each for each in reader.find(SEGMENT, SEGMENTS_OF_NETWORK, network.id) if each.provider == way), None
    )


def _only_default(txn: Txn, network: Network) -> Network:
    """The network, the default one only if it is external. Raises Conflict where another one is."""
    if not network.is_default:
        return network
    if not network.external:
        return msgspec.structs.replace(network, is_default=False)
    there = txn.first(NETWORK, THE_DEFAULT, True)
    if there is not None and there.id != network.id:
        raise Conflict(
            f"A default external network already exists: {there.id}.", type="DefaultExternalNetworkExists"
        )
    return network


def _carried_by(network: Network, providers: tuple[Provider, ...]) -> Network:
    if len(providers) == 1:
        return msgspec.structs.replace(network, segments=(), **msgspec.structs.asdict(providers[0]))
    return msgspec.structs.replace(
        network, network_type="", physical_network="", segmentation_id=0, segments=providers
    )


def _check_segments(network: Network, is_asked: bool) -> None:
    if is_asked:
        raise Invalid(
            "Segments and provider values cannot both be set.", type="SegmentsSetInConjunctionWithProviders"
        )
    whole = [
        each for each in network.segments if each.segmentation_id is not None or each.network_type == FLAT
    ]
    if len(set(whole)) != len(whole):
        raise Invalid("Duplicate segment entry in request.", type="SegmentsContainDuplicateEntry")


def _number(txn: Txn, providers: tuple[Provider, ...]) -> int:
    """What tells the network apart in a pipeline."""
    for provider in providers:
        if provider.network_type == VXLAN and provider.segmentation_id is not None:
            return provider.segmentation_id
    number = txn.allocate(NUMBERS, "", NUMBERS_WITHOUT_VNI)
    assert number is not None, "more networks than memory holds"
    return number


def _mtu(ctx: Context, network: Network) -> int:
    most = mtu_max(ctx, network)
    if network.mtu > most:
        raise refused(f"Requested MTU is too big, maximum is {most}")
    return network.mtu or most


def _check_read_only(ctx: Context, old: Network, new: Network) -> None:
    changed = [
        f"provider:{field}"
        for field in ("network_type", "physical_network")
        if getattr(new, field) != getattr(old, field)
    ]
    if new.segments != old.segments:
        changed.append("segments")
    if changed:
        raise refused(
            f"Plugin does not support updating the following provider network attributes: {', '.join(changed)}"
        )
    if new.segmentation_id != old.segmentation_id and old.network_type != VLAN:
        raise refused("Only VLAN type networks can be updated")


def _renumber(txn: Txn, ctx: Context, old: Network, new: Network) -> None:
    if new.segmentation_id is None:
        raise refused("Only segmentation_id field can be updated in VLAN type networks")
    check(txn, ctx, new.providers[0])
    (segment,) = txn.find(SEGMENT, SEGMENTS_OF_NETWORK, old.id)
    txn.update(SEGMENT, msgspec.structs.replace(segment, segmentation_id=new.segmentation_id))


REST = RestFeature(
    name="network",
    resources=(
        Resource(
            name="network",
            plural="networks",
            path="networks",
            table=NETWORK,
            aliases=("provider", "net-mtu", "net-mtu-writable", "external-net", "vlan-transparent"),
            on_create=on_create,
            after_create=after_create,
            on_update=on_update,
            on_delete=on_delete,
            computed=(Computed("status", lambda reader, network: "ACTIVE", {"type": "string"}, sort=True),),
            by_field={"project_id": BY_PROJECT, "name": BY_NAME},
            is_shared=is_shared,
            shared_ids=shared_ids,
            quota="network",
            is_marker_needed=True,
            is_taggable=True,
            doc="A layer-2 segment of a project.",
        ),
    ),
    extensions=(
        Extension(
            "provider",
            "Provider Network",
            "Expose mapping of virtual networks to physical networks",
            "2012-09-07T10:00:00-00:00",
        ),
        Extension(
            "net-mtu",
            "Network MTU",
            "Provides MTU attribute for a network resource.",
            "2015-03-25T10:00:00-00:00",
        ),
        Extension(
            "net-mtu-writable",
            "Network MTU (writable)",
            "Provides a writable MTU attribute for a network resource.",
            "2017-07-12T00:00:00-00:00",
        ),
        Extension(
            "vlan-transparent",
            "Vlantransparent",
            "Provides Vlan Transparent Networks",
            "2015-03-23T09:00:00-00:00",
        ),
        Extension(
            "external-net",
            "Neutron external network",
            "Adds external network attribute to network resource.",
            "2013-01-14T10:00:00-00:00",
        ),
    ),
)
