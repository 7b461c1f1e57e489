# SPDX-License-Identifier: Apache-2.0
"""What may be done with address scopes."""

from alcor.base.errors import Invalid
from alcor.features.address_scope.model import ADDRESS_SCOPE, BY_PROJECT, SHARED, AddressScope
from alcor.resource.declare import Context, Extension, Resource, RestFeature
from alcor.store.reader import Reader, Txn


def on_create(txn: Txn, ctx: Context, new: AddressScope) -> AddressScope:
    """Takes it as it is."""
    return new


def on_update(txn: Txn, ctx: Context, old: AddressScope, new: AddressScope) -> AddressScope:
    """The changed scope. Raises Invalid where a shared one would be taken from those that use it."""
    if old.shared and not new.shared:
        raise Invalid(
            f"Unable to update address scope {old.id} : Shared address scope can't be unshared.",
            type="AddressScopeUpdateError",
        )
    return new


def on_delete(txn: Txn, ctx: Context, old: AddressScope) -> None:
    """Nothing to add: subnet pools refuse through their reference."""


def is_shared(reader: Reader, project_id: str, scope: AddressScope) -> bool:
    """Whether every project may use the scope."""
    return scope.shared


def shared_ids(reader: Reader, project_id: str) -> list[str]:
    """The scopes that every project may use."""
    return [scope.id for scope in reader.find(ADDRESS_SCOPE, SHARED, True)]


REST = RestFeature(
    name="address_scope",
    resources=(
        Resource(
            name="address_scope",
            plural="address_scopes",
            path="address-scopes",
            table=ADDRESS_SCOPE,
            aliases=("address-scope",),
            on_create=on_create,
            on_update=on_update,
            on_delete=on_delete,
            by_field={"project_id": BY_PROJECT},
            is_shared=is_shared,
            shared_ids=shared_ids,
            quota="address_scope",
            doc="Subnet pools whose prefixes do not overlap.",
        ),
    ),
    extensions=(
        Extension("address-scope", "Address scope", "Address scopes extension.", "2015-07-26T10:00:00-00:00"),
    ),
)
