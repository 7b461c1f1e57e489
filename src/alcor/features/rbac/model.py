# SPDX-License-Identifier: Apache-2.0
"""What an RBAC policy is."""

from typing import Annotated

from alcor.base.errors import Conflict, Invalid, NotFound
from alcor.resource.declare import Api, Standard
from alcor.resource.parse import shown
from alcor.store.declare import Index, Table

EVERYBODY = "*"
SHARED, EXTERNAL = "access_as_shared", "access_as_external"


TYPES = ("network", "security_group", "subnetpool", "address_scope", "address_group", "qos_policy")


def type_of(text: str) -> str:
    """A type of object that can be shared, in any case. Raises Invalid."""
    kind = text.strip().lower()
    if kind not in TYPES:
        raise Invalid(
            f"Invalid input for operation: '{shown(text)}' is not a valid RBAC object type.",
            type="InvalidInput",
        )
    return kind


class RbacPolicy(Standard, frozen=True, kw_only=True):
    """Lets a project, or every project, use one object of another."""

    object_type: Annotated[str, Api(required=True, sort=False, of_filter=type_of)]
    object_id: Annotated[str, Api(required=True, sort=False)]
    target_tenant: Annotated[str, Api(required=True, put=True, max_length=255, sort=False)]
    action: Annotated[str, Api(required=True, max_length=255, sort=False)]


BY_PROJECT: Index[RbacPolicy] = Index("project_id", lambda policy: (policy.project_id,))
BY_OBJECT: Index[RbacPolicy] = Index("object_id", lambda policy: (policy.object_id,))
BY_TARGET: Index[RbacPolicy] = Index(
    "target", lambda policy: ((policy.object_type, policy.action, policy.target_tenant),)
)
BY_ALL: Index[RbacPolicy] = Index(
    "all",
    lambda policy: ((policy.object_id, policy.action, policy.target_tenant),),
    unique=True,
    taken=lambda policy, key: Conflict(
        "An RBAC policy already exists with those values.", type="DuplicateRbacPolicy"
    ),
)

RBAC_POLICY: Table[RbacPolicy] = Table(
    "rbac_policy",
    RbacPolicy,
    indexes=(BY_PROJECT, BY_OBJECT, BY_TARGET, BY_ALL),
    missing=lambda id: NotFound(
        f"RBAC policy of type unknown with ID {id} not found", type="RbacPolicyNotFound"
    ),
)
