# SPDX-License-Identifier: Apache-2.0
"""What hosts know of security groups, and the flows that judge every packet by its connection's original tuple."""

from typing import Literal

from alcor.base.net import Cidr
from alcor.dataplane.rows import Row


class RuleRow(Row, tag="rule", frozen=True, kw_only=True):
    """In `security_group:S` under the rule's id."""

    group: str  # the security group's id
    number: int  # unique in the region, 1..2^31: the conjunction id
    direction: Literal["ingress", "egress"]
    version: Literal[4, 6]
    protocol: int | None = None  # IP protocol number; None: any
    port_min: int | None = None  # ICMP: type
    port_max: int | None = None  # ICMP: code
    remote_prefix: Cidr | None = None
    remote_group: str | None = None


class GroupSetRow(Row, tag="group_set", frozen=True, kw_only=True):
    """In `members:S` under key `NUMBER`, for each group set that contains S."""

    number: int  # 1..2^24; 0 means no group
