# SPDX-License-Identifier: Apache-2.0
"""Who must know of an address group: hosts with a rule that names it, each address for itself."""

from collections.abc import Iterator

from alcor.features.address_group.flows import AddressRow
from alcor.features.address_group.model import ADDRESS_GROUP, AddressGroup
from alcor.goal.declare import Derivation, GoalFeature, Placed, View


def address_rows(view: View, group: AddressGroup) -> Iterator[Placed]:
    """Each address of the group."""
    for cidr in group.addresses:
        yield Placed(f"address_group:{group.id}", cidr, AddressRow(cidr=cidr))


GOAL = GoalFeature(name="address_group", derivations=(Derivation(ADDRESS_GROUP, address_rows),))
