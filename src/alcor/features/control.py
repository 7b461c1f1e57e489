# SPDX-License-Identifier: Apache-2.0
"""The product as the control plane sees it: every feature, in dependency order; each imports only those before it."""

from alcor.features.address_group import goal as address_group_goal
from alcor.features.address_group.model import ADDRESS_GROUP
from alcor.features.address_group.rules import REST as ADDRESS_GROUP_REST
from alcor.features.address_pair import goal as address_pair_goal
from alcor.features.address_pair.model import ADDRESS_OWNER
from alcor.features.address_scope.model import ADDRESS_SCOPE
from alcor.features.address_scope.rules import REST as ADDRESS_SCOPE_REST
from alcor.features.agent import goal as agent_goal
from alcor.features.agent.model import AGENT, AGENT_STATE, HOST
from alcor.features.agent.rules import REST as AGENT_REST
from alcor.features.availability_zone.model import NETWORK_ZONES
from alcor.features.availability_zone.rules import REST as AVAILABILITY_ZONE_REST
from alcor.features.binding import goal as binding_goal
from alcor.features.binding.model import BINDING_STATUS, PORT_BINDING, PORT_MOVE, WAITS_NOWHERE
from alcor.features.binding.rules import REST as BINDING_REST
from alcor.features.dns.model import NETWORK_DNS, PORT_DNS, SUBNET_DNS
from alcor.features.dns.rules import REST as DNS_REST
from alcor.features.flavor.model import FLAVOR, SERVICE_PROFILE
from alcor.features.flavor.rules import REST as FLAVOR_REST
from alcor.features.ip_availability.rules import REST as IP_AVAILABILITY_REST
from alcor.features.network import goal as network_goal
from alcor.features.network.model import NETWORK, SEGMENT, SEGMENT_RANGE
from alcor.features.network.rules import REST as NETWORK_REST
from alcor.features.policies import REST as POLICIES_REST
from alcor.features.port import goal as port_goal
from alcor.features.port.model import PORT, PORT_STATUS
from alcor.features.port.rules import REST as PORT_REST
from alcor.features.port_attribute import goal as port_attribute_goal
from alcor.features.port_attribute.model import PORT_ATTRIBUTES
from alcor.features.port_attribute.rules import REST as PORT_ATTRIBUTE_REST
from alcor.features.qos import goal as qos_goal
from alcor.features.qos.model import TABLES as QOS_TABLES
from alcor.features.qos.rules import REST as QOS_REST
from alcor.features.quota.model import QUOTA
from alcor.features.quota.rules import REST as QUOTA_REST
from alcor.features.rbac.model import RBAC_POLICY
from alcor.features.rbac.rules import REST as RBAC_REST
from alcor.features.security_group import goal as security_group_goal
from alcor.features.security_group.model import (
    DEFAULT_RULE,
    DEFAULT_RULES_KEPT,
    DEFAULT_STATEFULNESS,
    GROUP_SET,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
)
from alcor.features.security_group.rules import REST as SECURITY_GROUP_REST
from alcor.features.segment.rules import REST as SEGMENT_REST
from alcor.features.subnet import goal as subnet_goal
from alcor.features.subnet.model import MTU_SUITS_SUBNETS, SUBNET, SUBNET_POOL
from alcor.features.subnet.rules import REST as SUBNET_REST
from alcor.features.trunk.model import STAYS_WITH_TRUNK, TRUNK
from alcor.features.trunk.rules import REST as TRUNK_REST
from alcor.store.declare import Schema

REST = (
    POLICIES_REST,
    QUOTA_REST,
    AGENT_REST,
    FLAVOR_REST,
    ADDRESS_SCOPE_REST,
    NETWORK_REST,
    AVAILABILITY_ZONE_REST,
    SUBNET_REST,
    ADDRESS_GROUP_REST,
    SECURITY_GROUP_REST,
    PORT_REST,
    SEGMENT_REST,
    TRUNK_REST,
    BINDING_REST,
    QOS_REST,
    PORT_ATTRIBUTE_REST,
    DNS_REST,
    IP_AVAILABILITY_REST,
    RBAC_REST,
)

GOAL = (
    agent_goal.GOAL,
    network_goal.GOAL,
    subnet_goal.GOAL,
    address_group_goal.GOAL,
    security_group_goal.GOAL,
    port_goal.GOAL,
    address_pair_goal.GOAL,
    binding_goal.GOAL,
    qos_goal.GOAL,
    port_attribute_goal.GOAL,
)

SCHEMA = Schema(
    tables=(
        QUOTA,
        HOST,
        AGENT,
        AGENT_STATE,
        SERVICE_PROFILE,
        FLAVOR,
        NETWORK,
        SEGMENT,
        SEGMENT_RANGE,
        NETWORK_ZONES,
        ADDRESS_SCOPE,
        SUBNET_POOL,
        SUBNET,
        ADDRESS_GROUP,
        SECURITY_GROUP,
        SECURITY_GROUP_RULE,
        GROUP_SET,
        DEFAULT_RULE,
        DEFAULT_RULES_KEPT,
        DEFAULT_STATEFULNESS,
        PORT,
        PORT_STATUS,
        RBAC_POLICY,
        ADDRESS_OWNER,
        TRUNK,
        PORT_BINDING,
        *QOS_TABLES,
        PORT_ATTRIBUTES,
        NETWORK_DNS,
        SUBNET_DNS,
        PORT_DNS,
        BINDING_STATUS,
        PORT_MOVE,
    ),
    guards=(MTU_SUITS_SUBNETS, STAYS_WITH_TRUNK, WAITS_NOWHERE),
)
