# SPDX-License-Identifier: Apache-2.0
"""Who may do what by default: Neutron 29's rules for everything that is not routing, noun by noun.

Under each noun stand the checks, and under each check what it decides: a verb, or a verb and the attribute that it
gives or shows. The language of the checks is oslo.policy's; `alcor policy --sample` prints each rule by its name.
"""

from alcor.resource.declare import PolicyRule, RestFeature
from alcor.resource.policy import rules_of, shared_rules

ADMIN = "rule:admin_only"
SERVICE = "rule:service_api"
ADMIN_OR_SERVICE = "(rule:admin_only) or (rule:service_api)"
ANY_READERS = "role:reader"
READERS = "(rule:admin_only) or (role:reader and project_id:%(project_id)s)"
MEMBERS = "(rule:admin_only) or (role:member and project_id:%(project_id)s)"
MANAGERS = "(rule:admin_only) or (role:manager and project_id:%(project_id)s)"
PARENT_READERS = "(rule:admin_only) or (role:reader and rule:ext_parent_owner)"
PARENT_MANAGERS = "(rule:admin_only) or (role:manager and rule:ext_parent_owner)"
NETWORK_OWNER = "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner"
NETWORK_OWNER_OR_SERVICE = "(rule:admin_only) or (role:member and rule:network_owner) or rule:service_api"

# Rules that others name; what everybody needs of them stands in `resource.policy`.
SHARED: tuple[PolicyRule, ...] = shared_rules(
    {
        "admin_or_network_owner": "rule:context_is_admin or project_id:%(network:project_id)s",
        "admin_owner_or_network_owner": "rule:owner or rule:admin_or_network_owner",
        "network_owner": "project_id:%(network:project_id)s",
        "shared": "field:networks:shared=True",
        "sg_owner": "project_id:%(security_group:project_id)s",
        "shared_address_groups": "field:address_groups:shared=True",
        "shared_address_scopes": "field:address_scopes:shared=True",
        "external": "field:networks:router:external=True",
        "network_device": "field:port:device_owner=~^network:",
        "compute_device": "field:port:device_owner=~^compute:",
        "baremetal_device": "field:port:device_owner=~^baremetal:",
        "manila_device": "field:port:device_owner=~^manila:",
        "admin_or_data_plane_int": "rule:context_is_admin or role:data_plane_integrator",
        "shared_qos_policy": "field:policies:shared=True",
        "restrict_wildcard": (
            "(not field:rbac_policy:target_tenant=* and not field:rbac_policy:target_project=*) or "
            "rule:admin_only"
        ),
        "admin_or_sg_owner": "rule:context_is_admin or project_id:%(security_group:project_id)s",
        "admin_owner_or_sg_owner": "rule:owner or rule:admin_or_sg_owner",
        "shared_security_group": "field:security_groups:shared=True",
        "rule_default_sg": "field:security_group_rules:belongs_to_default_sg=True",
        "external_network": "field:subnets:router:external=True",
        "shared_subnetpools": "field:subnetpools:shared=True",
    }
)

NOUNS: tuple[PolicyRule, ...] = (
    *rules_of(
        "address_group",
        {
            MEMBERS: "create update delete add_addresses remove_addresses",
            (
                "(rule:admin_only) or (role:reader and project_id:%(project_id)s) or "
                "rule:shared_address_groups"
            ): "get",
        },
    ),
    *rules_of(
        "address_scope",
        {
            MEMBERS: "create update delete",
            ADMIN: "create:shared update:shared",
            (
                "rule:admin_only or role:reader and project_id:%(project_id)s or rule:shared_address_scopes"
            ): "get",
        },
    ),
    *rules_of(
        "agent",
        {
            ADMIN: "create get update delete",
        },
    ),
    *rules_of(
        "auto_allocated_topology",
        {
            READERS: "get",
            MEMBERS: "delete",
        },
    ),
    *rules_of(
        "availability_zone",
        {
            ANY_READERS: "get",
        },
    ),
    *rules_of(
        "default_security_group_rule",
        {
            ADMIN: "create delete",
            ANY_READERS: "get",
        },
    ),
    *rules_of(
        "default_security_group",
        {
            (
                "(rule:admin_only) or (rule:service_api) or role:reader and project_id:%(project_id)s"
            ): "create",
        },
    ),
    *rules_of(
        "flavor",
        {
            ADMIN: "create update delete",
            ANY_READERS: "get",
        },
    ),
    *rules_of(
        "flavor_service_profile",
        {
            READERS: "get",
            ADMIN: "create delete",
        },
    ),
    *rules_of(
        "service_profile",
        {
            ADMIN: "create get update delete",
        },
    ),
    *rules_of(
        "network",
        {
            MEMBERS: (
                "create create:port_security_enabled create:tags update "
                "update:port_security_enabled update:tags delete delete:tags"
            ),
            ADMIN: (
                "create:shared create:router:external create:is_default create:segments "
                "create:provider:network_type create:provider:physical_network "
                "create:provider:segmentation_id get:segments get:provider:network_type "
                "get:provider:physical_network get:provider:segmentation_id update:segments "
                "update:shared update:provider:network_type update:provider:physical_network "
                "update:provider:segmentation_id update:router:external update:is_default"
            ),
            (
                "(rule:admin_only) or (role:reader and project_id:%(project_id)s) or "
                "rule:service_api or rule:shared or rule:external or rule:context_is_advsvc"
            ): "get",
            (
                "(rule:admin_only) or (role:reader and project_id:%(project_id)s) or rule:shared or "
                "rule:external or rule:context_is_advsvc"
            ): "get:tags",
        },
    ),
    *rules_of(
        "network_ip_availability",
        {
            ADMIN_OR_SERVICE: "get",
        },
    ),
    *rules_of(
        "network_segment_range",
        {
            ADMIN: "create create:tags get get:tags update update:tags delete delete:tags",
        },
    ),
    *rules_of(
        "port",
        {
            (
                "(rule:admin_only) or (rule:service_api) or role:member and rule:network_owner or rule:shared"
            ): "create create:fixed_ips create:fixed_ips:subnet_id update:fixed_ips:subnet_id",
            (
                "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:service_api"
            ): "create:device_id create:binding:vnic_type update:device_id",
            (
                "not rule:network_device or (rule:admin_only) or (rule:service_api) or role:member "
                "and rule:network_owner"
            ): "create:device_owner update:device_owner",
            NETWORK_OWNER: (
                "create:mac_address create:fixed_ips:ip_address create:port_security_enabled "
                "update:fixed_ips update:fixed_ips:ip_address update:port_security_enabled"
            ),
            ADMIN_OR_SERVICE: (
                "create:binding:host_id get:binding:vif_type get:binding:vif_details "
                "get:binding:host_id get:binding:profile update:binding:host_id"
            ),
            SERVICE: "create:binding:profile update:binding:profile",
            NETWORK_OWNER_OR_SERVICE: (
                "create:allowed_address_pairs create:allowed_address_pairs:mac_address "
                "create:allowed_address_pairs:ip_address update:allowed_address_pairs "
                "update:allowed_address_pairs:mac_address update:allowed_address_pairs:ip_address"
            ),
            ADMIN: (
                "create:hints create:trusted get:resource_request get:hints get:trusted "
                "update:hints update:trusted"
            ),
            (
                "(rule:admin_only) or (role:member and project_id:%(project_id)s) or rule:context_is_advsvc"
            ): "create:tags update:tags",
            (
                "(rule:admin_only) or (rule:service_api) or role:reader and rule:network_owner or "
                "role:reader and project_id:%(project_id)s"
            ): "get",
            (
                "rule:context_is_advsvc or (rule:admin_only) or (role:reader and "
                "rule:network_owner) or role:reader and project_id:%(project_id)s"
            ): "get:tags",
            (
                "(rule:admin_only) or (rule:service_api) or role:member and project_id:%(project_id)s"
            ): "update update:binding:vnic_type",
            "(rule:admin_only) or (rule:service_api) or role:manager and rule:network_owner": "update:mac_address",
            "rule:admin_only or role:data_plane_integrator": "update:data_plane_status",
            (
                "(rule:admin_only) or (rule:service_api) or (service_roles:service and (role:member "
                "and rule:network_owner or role:member and project_id:%(project_id)s)) or (not "
                "rule:compute_device and not rule:baremetal_device and not rule:manila_device and "
                "(role:member and rule:network_owner or role:member and project_id:%(project_id)s))"
            ): "delete",
            (
                "rule:context_is_advsvc or role:member and project_id:%(project_id)s or "
                "(rule:admin_only) or (role:member and rule:network_owner)"
            ): "delete:tags",
        },
    ),
    *rules_of(
        "port_binding",
        {
            ADMIN_OR_SERVICE: "get",
            SERVICE: "create delete activate",
        },
    ),
    *rules_of(
        "policy",
        {
            (
                "(rule:admin_only) or (role:reader and project_id:%(project_id)s) or rule:shared_qos_policy"
            ): "get get:tags",
            MANAGERS: "create create:tags update update:tags delete delete:tags",
        },
    ),
    *rules_of(
        "rule_type",
        {
            ANY_READERS: "get",
        },
    ),
    *rules_of(
        "policy_bandwidth_limit_rule",
        {
            PARENT_READERS: "get",
            PARENT_MANAGERS: "create update delete",
        },
    ),
    *rules_of(
        "policy_packet_rate_limit_rule",
        {
            PARENT_READERS: "get",
            PARENT_MANAGERS: "create update delete",
        },
    ),
    *rules_of(
        "policy_dscp_marking_rule",
        {
            PARENT_READERS: "get",
            PARENT_MANAGERS: "create update delete",
        },
    ),
    *rules_of(
        "policy_minimum_bandwidth_rule",
        {
            PARENT_READERS: "get",
            PARENT_MANAGERS: "create update delete",
        },
    ),
    *rules_of(
        "policy_minimum_packet_rate_rule",
        {
            PARENT_READERS: "get",
            PARENT_MANAGERS: "create update delete",
        },
    ),
    *rules_of(
        "alias_bandwidth_limit_rule",
        {
            PARENT_READERS: "get",
            PARENT_MANAGERS: "update delete",
        },
    ),
    *rules_of(
        "alias_dscp_marking_rule",
        {
            PARENT_READERS: "get",
            PARENT_MANAGERS: "update delete",
        },
    ),
    *rules_of(
        "alias_minimum_bandwidth_rule",
        {
            PARENT_READERS: "get",
            PARENT_MANAGERS: "update delete",
        },
    ),
    *rules_of(
        "alias_minimum_packet_rate_rule",
        {
            "rule:get_policy_minimum_packet_rate_rule": "get",
            "rule:update_policy_minimum_packet_rate_rule": "update",
            "rule:delete_policy_minimum_packet_rate_rule": "delete",
        },
    ),
    *rules_of(
        "quota",
        {
            MANAGERS: "get",
            ADMIN: "update delete",
        },
    ),
    *rules_of(
        "rbac_policy",
        {
            MEMBERS: "create update delete",
            (
                "rule:admin_only or (not field:rbac_policy:target_tenant=* and not "
                "field:rbac_policy:target_project=*)"
            ): "create:target_tenant update:target_tenant",
            "rule:admin_only or not field:rbac_policy:target_project=*": "create:target_project update:target_project",
            READERS: "get",
        },
    ),
    *rules_of(
        "security_group",
        {
            MEMBERS: "create create:tags update update:tags delete delete:tags",
            (
                "(rule:admin_only) or (role:reader and project_id:%(project_id)s) or "
                "rule:shared_security_group"
            ): "get get:tags",
        },
    ),
    *rules_of(
        "security_group_rule",
        {
            "(rule:admin_only) or (role:member and rule:sg_owner)": "create delete",
            "(rule:admin_only) or (role:reader and rule:sg_owner)": "get",
        },
    ),
    *rules_of(
        "security_groups_default_statefulness",
        {
            MANAGERS: "create update delete",
            READERS: "get",
        },
    ),
    *rules_of(
        "segment",
        {
            ADMIN: (
                "create create_segments_tags get get_segments_tags update update_segments_tags "
                "delete delete_segments_tags"
            ),
        },
    ),
    *rules_of(
        "service_provider",
        {
            ANY_READERS: "get",
        },
    ),
    *rules_of(
        "subnet",
        {
            "(rule:admin_only) or (role:member and rule:network_owner)": "create",
            ADMIN: (
                "create:segment_id create:service_types get:segment_id update:segment_id "
                "update:service_types update:leak_routes"
            ),
            (
                "role:member and project_id:%(project_id)s or (rule:admin_only) or (role:member and "
                "rule:network_owner)"
            ): "create:tags update update:tags delete delete:tags",
            (
                "role:reader and project_id:%(project_id)s or rule:shared or rule:external_network "
                "or (rule:admin_only) or (role:reader and rule:network_owner) or rule:service_api"
            ): "get",
            (
                "role:reader and project_id:%(project_id)s or rule:shared or rule:external_network "
                "or (rule:admin_only) or (role:reader and rule:network_owner)"
            ): "get:tags",
        },
    ),
    *rules_of(
        "subnetpool",
        {
            MEMBERS: (
                "create create:tags update update:tags delete delete:tags onboard_network_subnets "
                "add_prefixes remove_prefixes"
            ),
            ADMIN: "create:shared create:is_default update:is_default",
            (
                "(rule:admin_only) or (role:reader and project_id:%(project_id)s) or rule:shared_subnetpools"
            ): "get get:tags",
        },
    ),
    *rules_of(
        "trunk",
        {
            MEMBERS: (
                "create create:tags update update:tags delete delete:tags add_subports remove_subports"
            ),
            READERS: "get get:tags get_subports",
        },
    ),
)

REST = RestFeature(name="policies", policies=(*SHARED, *NOUNS))
