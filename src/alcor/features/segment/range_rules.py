# SPDX-License-Identifier: Apache-2.0
"""What may be done with ranges of segments' numbers, and what of a range is used and free."""

from collections.abc import Iterator

import msgspec

from alcor.base.config import VLAN_MAX
from alcor.base.errors import Conflict, Invalid
from alcor.features.network.model import (
    BLOCK,
    DEFAULT_RANGES,
    NETWORK,
    RANGES_OF_TYPE,
    SEGMENT,
    SEGMENT_NUMBERS,
    SEGMENT_RANGE,
    SEGMENTS_OF_BLOCK,
    VLAN,
    VNI_MAX,
    VXLAN,
    Segment,
    SegmentRange,
    configured,
)
from alcor.resource.declare import Computed, Context, Extension, Resource
from alcor.store.reader import Reader, Txn

SHOWN_MAX = 1_024  # used and free numbers that are answered, the lowest: what is read at once without a pause


def keep_defaults(txn: Txn, ctx: Context) -> None:
    """Makes objects of the ranges that the settings give everybody, and removes those that they do not any more."""
    wanted = {(kind, *place) for kind in (VLAN, VXLAN) for place in configured(ctx.settings, kind)}
    for kept in txn.find(SEGMENT_RANGE, DEFAULT_RANGES, True):
        if (kept.network_type, *kept.place) in wanted:
            wanted.remove((kept.network_type, *kept.place))
        else:
            txn.delete(SEGMENT_RANGE, kept.id)
    for kind, name, first, last in sorted(wanted):
        default = SegmentRange(
            id=ctx.new_id(),
            default=True,
            network_type=kind,
            physical_network=name,
            minimum=first,
            maximum=last,
            created_at=ctx.now,
            updated_at=ctx.now,
            revision_number=1,
        )
        txn.insert(SEGMENT_RANGE, default)


def on_create(txn: Txn, ctx: Context, new: SegmentRange) -> SegmentRange:
    """The range, everybody's or of its project. Raises Invalid for what no network has, Conflict where it overlaps."""
    if new.network_type not in (VLAN, VXLAN):
        raise Invalid(
            f"Network type {new.network_type} does not support network segment ranges.",
            type="NetworkSegmentRangeNetTypeNotSupported",
        )
    if not new.shared and not new.project_id:
        raise Invalid(
            "Object action create failed because: if NetworkSegmentRange is not shared, it must have a project_id.",
            type="ObjectActionError",
        )
    new = msgspec.structs.replace(
        new,
        project_id="" if new.shared else new.project_id,
        physical_network=new.physical_network if new.network_type == VLAN else "",
    )
    _check_bounds(new)
    _check_overlap(txn, new)
    return new


def on_update(txn: Txn, ctx: Context, old: SegmentRange, new: SegmentRange) -> SegmentRange:
    """The changed range. Raises Conflict where it would lose numbers that are used, and as a new one does."""
    _check_own(old)
    cut = ((old.minimum, new.minimum - 1), (new.maximum + 1, old.maximum))
    if any(_is_used(txn, old, max(first, old.minimum), min(last, old.maximum)) for first, last in cut):
        raise _referenced(old)
    _check_bounds(new)
    _check_overlap(txn, new)
    return new


def on_delete(txn: Txn, ctx: Context, old: SegmentRange) -> None:
    """Raises Conflict while numbers of it are used, and Invalid for a default one."""
    _check_own(old)
    if _is_used(txn, old, old.minimum, old.maximum):
        raise _referenced(old)


def used(reader: Reader, of: SegmentRange) -> dict[int, str]:
    """The projects of the networks that have numbers of the range, by number: the lowest `SHOWN_MAX`."""
    found: dict[int, str] = {}
    for segments in _blocks(reader, of, of.minimum, of.maximum):
        found |= {segment.segmentation_id or 0: segment.network_id for segment in segments}
        if len(found) >= SHOWN_MAX:
            break
    lowest = sorted(found.items())[:SHOWN_MAX]
    return {number: reader.get(NETWORK, network).project_id for number, network in lowest}


def available(reader: Reader, of: SegmentRange) -> list[int]:
    """The free numbers of the range: the lowest `SHOWN_MAX`."""
    free: list[int] = []
    for block in range(of.minimum // BLOCK, of.maximum // BLOCK + 1):
        first, last = max(of.minimum, block * BLOCK), min(of.maximum, (block + 1) * BLOCK - 1)
        count = reader.count(SEGMENT, SEGMENTS_OF_BLOCK, (*of.key, block))
        if count == 0:
            free += range(first, last + 1)
        elif count < BLOCK:
            number = reader.lowest_free(SEGMENT_NUMBERS, of.key, (first, last), first)
            while number is not None and len(free) < SHOWN_MAX:
                free.append(number)
                number = reader.lowest_free(SEGMENT_NUMBERS, of.key, (first, last), number + 1)
        if len(free) >= SHOWN_MAX:
            break
    return free[:SHOWN_MAX]


def _is_used(reader: Reader, of: SegmentRange, first: int, last: int) -> bool:
    return any(segments for segments in _blocks(reader, of, first, last))


def _blocks(reader: Reader, of: SegmentRange, first: int, last: int) -> Iterator[list[Segment]]:
    """The segments with such numbers, a block at a time."""
    for block in range(first // BLOCK, last // BLOCK + 1):
        key = (*of.key, block)
        if reader.count(SEGMENT, SEGMENTS_OF_BLOCK, key):
            there = reader.find(SEGMENT, SEGMENTS_OF_BLOCK, key)
            yield [segment for segment in there if first <= (segment.segmentation_id or 0) <= last]


def _check_own(old: SegmentRange) -> None:
    if old.default:
        raise Invalid(
            f"Network Segment Range {old.id} is a default segment range which could not be updated or deleted.",
            type="NetworkSegmentRangeDefaultReadOnly",
        )


def _check_bounds(new: SegmentRange) -> None:
    is_vlan = new.network_type == VLAN
    if is_vlan and not new.physical_network:
        raise Invalid(
            "Bad network_segment_range request: Network type vlan requires 'physical_network' to be specified while"
            " creating new range.",
            type="BadRequest",
        )
    most, kind = (VLAN_MAX, "VLAN") if is_vlan else (VNI_MAX, "tunnel")
    beyond = [number for number in (new.minimum, new.maximum) if number > most]
    if beyond:
        called = "VLAN tag" if is_vlan else "vxlan identifier"
        reason = f"{beyond[0]} is not a valid {called}"
    elif new.maximum < new.minimum:
        reason = f"End of {kind} range is less than start of {kind} range"
    else:
        return
    raise Invalid(
        f"Invalid network {kind} range: '{new.minimum}:{new.maximum}' - '{reason}'.",
        type="NetworkVlanRangeError" if is_vlan else "NetworkTunnelRangeError",
    )


def _check_overlap(txn: Txn, new: SegmentRange) -> None:
    overlapped = [
        other.id
        for other in txn.find(SEGMENT_RANGE, RANGES_OF_TYPE, new.network_type)
        if other.id != new.id
        and other.physical_network == new.physical_network
        and new.minimum <= other.maximum
        and other.minimum <= new.maximum
    ]
    if overlapped:
        raise Conflict(
            f"Network segment range overlaps with range(s) with id {', '.join(overlapped)}",
            type="NetworkSegmentRangeOverlaps",
        )


def _referenced(old: SegmentRange) -> Conflict:
    return Conflict(
        f"Network Segment Range {old.id} is referenced by one or more project networks.",
        type="NetworkSegmentRangeReferencedByProject",
    )


RANGES = Resource(
    name="network_segment_range",
    plural="network_segment_ranges",
    path="network_segment_ranges",
    table=SEGMENT_RANGE,
    aliases=("network-segment-range",),
    before=keep_defaults,
    on_create=on_create,
    on_update=on_update,
    on_delete=on_delete,
    computed=(
        Computed(
            "used",
            used,
            {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": SHOWN_MAX},
            filter=False,
        ),
        Computed(
            "available",
            available,
            {"type": "array", "items": {"type": "integer"}, "maxItems": SHOWN_MAX},
            filter=False,
        ),
    ),
    is_taggable=True,
    answered_at_once=1,
    access="admin",
    doc="Numbers for networks of a type.",
)

EXTENSION = Extension(
    "network-segment-range",
    "Neutron Network Segment Range",
    "Provides support for the network segment range management",
    "2018-11-29T00:00:00-00:00",
)
