# SPDX-License-Identifier: Apache-2.0
"""Who must know which claimant has an address: the hosts of its network."""

from collections.abc import Iterator

from alcor.features.address_pair.model import ADDRESS_OWNER, AddressOwner
from alcor.features.address_pair.rules import may_have, on_claims
from alcor.features.port.flows import OwnerRow, owner_key
from alcor.features.port.model import PORT
from alcor.goal.declare import Derivation, GoalFeature, Observer, Placed, View


def owner_rows(view: View, owner: AddressOwner) -> Iterator[Placed]:
    """The owner, as long as its port is there, up, and still may have the address."""
    port = view.peek(PORT, owner.port_id)
    if port is None or not port.is_bound or not port.admin_state_up:
        return
    if may_have(port, owner.address, owner.mac):
        row = OwnerRow(port=port.id, address=owner.address, mac=owner.mac)
        yield Placed(f"neighbours:{owner.network_id}", owner_key(owner.address), row)


GOAL = GoalFeature(
    name="address_pair",
    derivations=(Derivation(ADDRESS_OWNER, owner_rows),),
    observers=(Observer(on_claims=on_claims),),
)
