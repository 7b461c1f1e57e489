# SPDX-License-Identifier: Apache-2.0
"""What an address scope is."""

from typing import Annotated

from alcor.base.errors import NotFound
from alcor.resource.declare import Api, Standard
from alcor.store.declare import Index, Table


class AddressScope(Standard, frozen=True, kw_only=True):
    """Subnet pools of one IP version whose prefixes do not overlap, so that networks of it can be routed unchanged."""

    name: Annotated[str, Api(put=True, max_length=255)] = ""
    ip_version: Annotated[int, Api(required=True, choices=(4, 6))]
    shared: Annotated[bool, Api(put=True, set_by="admin")] = False


BY_PROJECT: Index[AddressScope] = Index("project_id", lambda scope: (scope.project_id,))
SHARED: Index[AddressScope] = Index("shared", lambda scope: (True,) if scope.shared else ())


def not_found(id: str) -> NotFound:
    """The refusal for an absent scope."""
    return NotFound(f"Address scope {id} could not be found.", type="AddressScopeNotFound")


ADDRESS_SCOPE: Table[AddressScope] = Table(
    "address_scope", AddressScope, indexes=(BY_PROJECT, SHARED), missing=not_found
)
