# SPDX-License-Identifier: Apache-2.0
"""What an address group is."""

from contextlib import suppress
from typing import Annotated

from alcor.base.errors import NotFound
from alcor.base.net import Cidr, parse_cidr
from alcor.resource.declare import Api, Standard
from alcor.resource.parse import shown
from alcor.store.declare import Index, Table

ADDRESSES_MAX = 10_000  # of one group


def parse_addresses(value: object, *, has_hosts: bool = False) -> tuple[Cidr, ...]:
    """Networks in canonical form, sorted, each once; null for none. Raises ValueError, and without `has_hosts` for an
    address that has no length.
    """
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError(f"'{shown(value)}' is not a list")
    twice = sorted({str(each) for each in value if value.count(each) > 1}) if len(value) < 1_000 else []
    if twice:
        raise ValueError(f"Duplicate items in the list: '{shown(', '.join(twice))}'")
    if len(value) > ADDRESSES_MAX:
        raise ValueError(f"An address group has at most {ADDRESSES_MAX} addresses, not {len(value)}")
    return tuple(sorted({_network(each, has_hosts=has_hosts) for each in value}))


def _network(value: object, *, has_hosts: bool) -> Cidr:
    if isinstance(value, str):
        with suppress(ValueError):  # what it is not is said below
            is_host = has_hosts and "/" not in value
            return parse_cidr(f"{value}/{128 if ':' in value else 32}" if is_host else value)
    raise ValueError(f"'{shown(value)}' is not a valid IP subnet")


class AddressGroup(Standard, frozen=True, kw_only=True):
    """Addresses and networks that change together for all rules that name the group."""

    name: Annotated[str, Api(put=True, max_length=255)] = ""
    addresses: Annotated[
        tuple[Cidr, ...], Api(parse=parse_addresses, nullable=True, filter=False, sort=False)
    ] = ()
    shared: Annotated[bool, Api(post=False, visible=False, filter=False, sort=False)] = False


BY_PROJECT: Index[AddressGroup] = Index("project_id", lambda group: (group.project_id,))
ADDRESS_GROUP: Table[AddressGroup] = Table(
    "address_group",
    AddressGroup,
    indexes=(BY_PROJECT,),
    missing=lambda id: NotFound(f"Address group {id} could not be found.", type="AddressGroupNotFound"),
)
