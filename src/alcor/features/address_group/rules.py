# SPDX-License-Identifier: Apache-2.0
"""What may be done with address groups."""

from collections.abc import Mapping

from alcor.base.errors import Invalid, NotFound
from alcor.base.net import Cidr
from alcor.features.address_group.model import (
    ADDRESS_GROUP,
    ADDRESSES_MAX,
    BY_PROJECT,
    AddressGroup,
    parse_addresses,
)
from alcor.resource.declare import Action, Context, Extension, Resource, RestFeature, revised
from alcor.store.reader import Txn


def on_create(txn: Txn, ctx: Context, new: AddressGroup) -> AddressGroup:
    """Takes it as it is."""
    return new


def on_update(txn: Txn, ctx: Context, old: AddressGroup, new: AddressGroup) -> AddressGroup:
    """Takes it as it is; addresses change by actions."""
    return new


def on_delete(txn: Txn, ctx: Context, old: AddressGroup) -> None:
    """Nothing to add: rules that name the group refuse through their reference."""


def add_addresses(
    txn: Txn, ctx: Context, group: AddressGroup, body: Mapping[str, object]
) -> dict[str, object]:
    """The group with these addresses too. Raises Invalid for some that it has."""
    asked = _addresses(body)
    known = set(group.addresses).intersection(asked)
    if known:
        raise Invalid(
            f"Addresses {sorted(known)} already exist in the address group {group.id}.",
            type="AddressesAlreadyExist",
        )
    if len(group.addresses) + len(asked) > ADDRESSES_MAX:
        raise Invalid(f"Address group {group.id} may have at most {ADDRESSES_MAX} addresses.")
    return _changed(txn, ctx, group, {*group.addresses, *asked})


def remove_addresses(
    txn: Txn, ctx: Context, group: AddressGroup, body: Mapping[str, object]
) -> dict[str, object]:
    """The group without these addresses. Raises NotFound for some that it does not have."""
    asked = _addresses(body)
    unknown = set(asked).difference(group.addresses)
    if unknown:
        raise NotFound(
            f"Addresses {sorted(unknown)} not found in the address group {group.id}.",
            type="AddressesNotFound",
        )
    return _changed(txn, ctx, group, set(group.addresses).difference(asked))


def _addresses(body: Mapping[str, object]) -> tuple[Cidr, ...]:
    try:
        return parse_addresses(body.get("addresses"), has_hosts=True)
    except ValueError as wrong:
        raise Invalid(f"Invalid input for addresses. Reason: {wrong}.") from None


def _changed(txn: Txn, ctx: Context, group: AddressGroup, addresses: set[Cidr]) -> dict[str, object]:
    changed = revised(ctx, group, addresses=tuple(sorted(addresses)))
    txn.update(ADDRESS_GROUP, changed)
    answer = {field: getattr(changed, field) for field in changed.__struct_fields__ if field != "shared"}
    answer["tenant_id"] = changed.project_id
    return {"address_group": answer}


REST = RestFeature(
    name="address_group",
    resources=(
        Resource(
            name="address_group",
            plural="address_groups",
            path="address-groups",
            table=ADDRESS_GROUP,
            is_taggable=True,
            is_change_masked=True,
            aliases=("address-group",),
            on_create=on_create,
            on_update=on_update,
            on_delete=on_delete,
            by_field={"project_id": BY_PROJECT},
            actions=(
                Action("add_addresses", "PUT", add_addresses, doc="Adds addresses to the group."),
                Action("remove_addresses", "PUT", remove_addresses, doc="Takes addresses out of the group."),
            ),
            doc="Addresses that security group rules name as their remote.",
        ),
    ),
    extensions=(
        Extension("address-group", "Address group", "Support address group", "2020-07-15T10:00:00-00:00"),
    ),
)
