# SPDX-License-Identifier: Apache-2.0
"""What hosts know of address groups. The flows are those of the rules that name them."""

from alcor.base.net import Cidr
from alcor.dataplane.rows import HostFeature, Row


class AddressRow(Row, tag="address", frozen=True, kw_only=True):
    """In `address_group:A` under the network: one of the group's addresses."""

    cidr: Cidr


FEATURE = HostFeature(name="address_group", rows=(AddressRow,))
