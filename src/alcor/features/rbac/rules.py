# SPDX-License-Identifier: Apache-2.0
"""Which objects can be shared, what their sharing holds up, and how `shared` and RBAC policies stay one thing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

import msgspec

from alcor.base.errors import Conflict, Invalid
from alcor.features.address_group.model import ADDRESS_GROUP
from alcor.features.address_scope.model import ADDRESS_SCOPE
from alcor.features.network.model import NETWORK
from alcor.features.port.model import BY_GROUP as PORTS_OF_GROUP
from alcor.features.port.model import BY_NETWORK as PORTS_OF_NETWORK
from alcor.features.port.model import PORT, TRUSTED_OWNER
from alcor.features.qos.model import NETWORK_QOS, NETWORKS_WITH, PORT_QOS, PORTS_WITH, QOS_POLICY
from alcor.features.rbac.model import (
    BY_ALL,
    BY_OBJECT,
    BY_PROJECT,
    BY_TARGET,
    EVERYBODY,
    EXTERNAL,
    RBAC_POLICY,
    SHARED,
    TYPES,
    RbacPolicy,
    type_of,
)
from alcor.features.security_group.model import RULES_FROM_ADDRESSES, SECURITY_GROUP, SECURITY_GROUP_RULE
from alcor.features.subnet.model import BY_POOL, POOLS_OF_SCOPE, SUBNET, SUBNET_POOL, Subnet
from alcor.resource.declare import Context, Extends, Extension, Resource, RestFeature, Standard, revised
from alcor.store.declare import Table
from alcor.store.reader import Reader, Txn

S = TypeVar("S", bound=Standard)
Users = Callable[[Reader, str], Iterable[Standard]]  # (reader, id of the object) -> what depends on seeing it


@dataclass(frozen=True)
class Shareable:
    """One type of object: `flags` are its own fields that mean "shared with everybody", by action."""

    table: Table[Standard]
    users: Users
    flags: Mapping[str, str]
    alias: str = ""
    noun: str = ""  # of the REST noun, if other than the type

    @property
    def type(self) -> str:
        """Its name in `object_type`."""
        return self.table.name

    @property
    def actions(self) -> tuple[str, ...]:
        """What policies may allow."""
        return (SHARED, EXTERNAL) if EXTERNAL in self.flags else (SHARED,)


def _ports_of_network(reader: Reader, id: str) -> Iterable[Standard]:
    ports = reader.find(PORT, PORTS_OF_NETWORK, id)
    return [port for port in ports if not port.device_owner.startswith(TRUSTED_OWNER)]


def _with_policy(reader: Reader, id: str) -> Iterable[Standard]:
    ports = [reader.get(PORT, row.id) for row in reader.find(PORT_QOS, PORTS_WITH, id)]
    return [*ports, *(reader.get(NETWORK, row.id) for row in reader.find(NETWORK_QOS, NETWORKS_WITH, id))]


def _any(table: Table[S]) -> Table[Standard]:
    """The table as one of objects that belong to somebody: of sharing only their owner and `flags` are read."""
    return cast("Table[Standard]", table)


SHAREABLE: tuple[Shareable, ...] = (
    Shareable(_any(NETWORK), _ports_of_network, {SHARED: "shared", EXTERNAL: "external"}),
    Shareable(
        _any(SECURITY_GROUP),
        lambda reader, id: reader.find(PORT, PORTS_OF_GROUP, id),
        {},
        "rbac-security-groups",
    ),
    Shareable(
        _any(SUBNET_POOL),
        lambda reader, id: reader.find(SUBNET, BY_POOL, id),
        {SHARED: "shared"},
        "rbac-subnetpool",
    ),
    Shareable(
        _any(ADDRESS_SCOPE),
        lambda reader, id: reader.find(SUBNET_POOL, POOLS_OF_SCOPE, id),
        {SHARED: "shared"},
        "rbac-address-scope",
    ),
    Shareable(
        _any(ADDRESS_GROUP),
        lambda reader, id: reader.find(SECURITY_GROUP_RULE, RULES_FROM_ADDRESSES, id),
        {},
        "rbac-address-group",
    ),
    Shareable(_any(QOS_POLICY), _with_policy, {SHARED: "shared"}, noun="policy"),
)
_BY_TYPE: Mapping[str, Shareable] = {each.type: each for each in SHAREABLE}
assert _BY_TYPE.keys() == set(TYPES), "types of RBAC policies without a table, or the other way round"


def on_create(txn: Txn, ctx: Context, new: RbacPolicy) -> RbacPolicy:
    """The policy, once the object's own flag says the same. Raises Invalid, Forbidden, NotFound."""
    shareable = _BY_TYPE[type_of(new.object_type)]
    if new.action not in shareable.actions:
        raise Invalid(
            f"Invalid action '{new.action}' for object type '{shareable.type}'. Valid actions: {shareable.actions}",
            type="InvalidActionForType",
        )
    new = msgspec.structs.replace(new, object_type=shareable.type)
    shared = ctx.visible(txn, shareable.table, new.object_id)
    if not ctx.is_admin and shared.project_id != ctx.project_id:
        raise Invalid(
            "Invalid input for operation: Only admins can manipulate policies on objects they do not own.",
            type="InvalidInput",
        )
    _check_target(new)
    _check_scope_seen(txn, new)
    _flag(txn, new, is_set=True)
    _revise(txn, ctx, new, shared)
    return new


def on_update(txn: Txn, ctx: Context, old: RbacPolicy, new: RbacPolicy) -> RbacPolicy:
    """The policy for another target. Raises Conflict where the one before still uses the object."""
    _check_target(new)
    _check_scope_seen(txn, new)
    if new.target_tenant != old.target_tenant:
        # As in Neutron, a network that is used is not even given to everybody instead.
        if new.target_tenant != EVERYBODY or old.object_type == NETWORK.name:
            _check_unused(txn, old)
        _check_default(txn, old)
        before = txn.get(_BY_TYPE[old.object_type].table, old.object_id)
        if new.action == SHARED:
            _flag(txn, old, is_set=False)
            _flag(txn, new, is_set=True)
        _revise(txn, ctx, new, before)
    return new


def on_delete(txn: Txn, ctx: Context, old: RbacPolicy) -> None:
    """Takes the object's own flag back too. Raises Conflict where the target still uses the object."""
    _check_unused(txn, old)
    _check_default(txn, old)
    before = txn.get(_BY_TYPE[old.object_type].table, old.object_id)
    _flag(txn, old, is_set=False)
    _revise(txn, ctx, old, before)


def _check_target(policy: RbacPolicy) -> None:
    if not policy.target_tenant.strip():
        raise Invalid(
            f"Invalid input for operation: '{policy.target_tenant}' is not a valid target project ID; expected a UUID"
            " or '*'.",
            type="InvalidInput",
        )


def _check_scope_seen(txn: Txn, policy: RbacPolicy) -> None:
    """Raises Invalid where the target would get a subnet pool without its address scope."""
    if policy.object_type != SUBNET_POOL.name:
        return
    scope_id = txn.get(SUBNET_POOL, policy.object_id).address_scope_id
    if scope_id is None or txn.get(ADDRESS_SCOPE, scope_id).project_id == policy.target_tenant:
        return
    keys = [(scope_id, SHARED, target) for target in {policy.target_tenant, EVERYBODY}]
    if not any(txn.count(RBAC_POLICY, BY_ALL, key) for key in keys):
        raise Invalid(
            f"Invalid input for operation: Address scope {scope_id} of subnet pool {policy.object_id} is not shared"
            f" with {policy.target_tenant}.",
            type="InvalidInput",
        )


def _check_unused(txn: Txn, policy: RbacPolicy) -> None:
    """Raises Conflict where somebody sees the object by this policy alone and has something that depends on it."""
    if policy.action != SHARED:
        return
    shareable = _BY_TYPE[policy.object_type]
    owner = txn.get(shareable.table, policy.object_id).project_id
    others = {
        other.target_tenant
        for other in txn.find(RBAC_POLICY, BY_OBJECT, policy.object_id)
        if other.id != policy.id and other.action == SHARED
    }
    if EVERYBODY in others:
        return
    # As in Neutron, what is everybody's stays so while even its owner uses it; but for networks.
    is_owners = policy.object_type == NETWORK.name or policy.target_tenant != EVERYBODY
    spared = {"", owner} if is_owners else {""}
    for user in shareable.users(txn, policy.object_id):
        project = user.project_id
        if project in spared or project in others or policy.target_tenant not in (project, EVERYBODY):
            continue
        raise _in_use(policy, f"{user.id} of project {project} uses it.")


def _check_default(txn: Txn, policy: RbacPolicy) -> None:
    """Raises Conflict where the default external network would not be for everybody any more."""
    if policy.action != EXTERNAL or policy.target_tenant != EVERYBODY:
        return
    if txn.get(NETWORK, policy.object_id).is_default:
        raise _in_use(policy, "Default external networks must be shared to everyone.")


def _in_use(policy: RbacPolicy, details: str) -> Conflict:
    return Conflict(
        f"RBAC policy on object {policy.object_id} cannot be removed because other objects depend on it."
        f"\nDetails: {details}",
        type="RbacPolicyInUse",
    )


def _check_unshared(txn: Txn, policy: RbacPolicy) -> None:
    """As `_check_unused`, in the words for an update of the object itself."""
    try:
        _check_unused(txn, policy)
    except Conflict as in_use:
        if policy.object_type != NETWORK.name:
            raise
        raise Conflict(
            f"Unable to reconfigure sharing settings for network {policy.object_id}. Multiple projects are using it.",
            type="InvalidSharedSetting",
        ) from in_use


def _flag(txn: Txn, policy: RbacPolicy, *, is_set: bool) -> None:
    """Makes the object's own field say what its policies say: shared with everybody, external to anybody."""
    shareable = _BY_TYPE[policy.object_type]
    field = shareable.flags.get(policy.action)
    if field is None or (policy.action == SHARED and policy.target_tenant != EVERYBODY):
        return
    if policy.action == EXTERNAL and any(other.id != policy.id for other in _external(txn, policy.object_id)):
        return
    shared = txn.get(shareable.table, policy.object_id)
    if getattr(shared, field) != is_set:
        txn.update(shareable.table, msgspec.structs.replace(shared, **{field: is_set}))


def _revise(txn: Txn, ctx: Context, policy: RbacPolicy, before: Standard) -> None:
    """Counts the change of the object's own field; of a network any change of who may use it, as Neutron does."""
    table = _BY_TYPE[policy.object_type].table
    shared = txn.get(table, policy.object_id)
    if shared is not before or policy.object_type == NETWORK.name:
        txn.update(table, revised(ctx, shared))


def _external(reader: Reader, network_id: str) -> list[RbacPolicy]:
    return [each for each in reader.find(RBAC_POLICY, BY_OBJECT, network_id) if each.action == EXTERNAL]


def _withdraw(txn: Txn, id: str, action: str) -> None:
    """Takes away what lets everybody use the object, and of an external network whatever lets anybody."""
    shared = txn.find(RBAC_POLICY, BY_ALL, (id, SHARED, EVERYBODY))
    for policy in shared if action == SHARED else _external(txn, id):
        _check_unshared(txn, policy)
        txn.delete(RBAC_POLICY, policy.id)


def _policy_for_all(txn: Txn, ctx: Context, shared: Standard, place: tuple[str, str]) -> None:
    kind, action = place
    if txn.count(RBAC_POLICY, BY_ALL, (shared.id, action, EVERYBODY)):
        return
    policy = RbacPolicy(
        id=ctx.new_id(),
        project_id=shared.project_id,
        object_type=kind,
        object_id=shared.id,
        target_tenant=EVERYBODY,
        action=action,
        created_at=ctx.now,
        updated_at=ctx.now,
        revision_number=1,
    )
    txn.insert(RBAC_POLICY, policy)


def _is_told(reader: Reader, project_id: str, id: str) -> bool:
    """Whether the object is `shared` as this project is told: what is external alone is not."""
    return any(reader.count(RBAC_POLICY, BY_ALL, (id, SHARED, target)) for target in (EVERYBODY, project_id))


def _is_subnet_told(reader: Reader, project_id: str, subnet: Subnet) -> bool:
    return _is_told(reader, project_id, subnet.network_id)


def _extension(shareable: Shareable) -> Extends:
    """What sharing adds to one type of object."""
    kind, flags, actions = shareable.type, shareable.flags, shareable.actions

    def is_shared(reader: Reader, project_id: str, shared: Standard) -> bool:
        keys = [(shared.id, action, target) for action in actions for target in (project_id, EVERYBODY)]
        return any(reader.count(RBAC_POLICY, BY_ALL, key) for key in keys)

    def shared_ids(reader: Reader, project_id: str) -> list[str]:
        keys = [(kind, action, target) for action in actions for target in (project_id, EVERYBODY)]
        return [policy.object_id for key in keys for policy in reader.find(RBAC_POLICY, BY_TARGET, key)]

    def after_create(txn: Txn, ctx: Context, shared: Standard) -> None:
        for action, field in flags.items():
            if getattr(shared, field, False):
                _policy_for_all(txn, ctx, shared, (kind, action))

    def on_update(txn: Txn, ctx: Context, old: Standard, new: Standard) -> None:
        for action, field in flags.items():
            if getattr(old, field, False) == getattr(new, field, False):
                continue
            if getattr(new, field):
                _policy_for_all(txn, ctx, new, (kind, action))
            else:
                _withdraw(txn, new.id, action)

    def on_delete(txn: Txn, ctx: Context, old: Standard) -> None:
        for policy in txn.find(RBAC_POLICY, BY_OBJECT, old.id):
            txn.delete(RBAC_POLICY, policy.id)

    def tell(reader: Reader, project_id: str, shared: Standard) -> bool:
        return _is_told(reader, project_id, shared.id)

    return Extends(
        noun=shareable.noun or kind,
        after_create=after_create if flags else None,
        on_update=on_update if flags else None,
        on_delete=on_delete,
        is_shared=is_shared,
        shared_ids=shared_ids,
        opens=("router:external",) if EXTERNAL in flags else (),
        answers={"shared": tell} if "shared" in shareable.table.kind.__struct_fields__ else {},
    )


REST = RestFeature(
    name="rbac",
    resources=(
        Resource(
            name="rbac_policy",
            plural="rbac_policies",
            path="rbac-policies",
            table=RBAC_POLICY,
            aliases=(
                "rbac-policies",
                "security-groups-shared-filtering",
                *(each.alias for each in SHAREABLE if each.alias),
            ),
            on_create=on_create,
            on_update=on_update,
            on_delete=on_delete,
            by_field={"project_id": BY_PROJECT, "object_id": BY_OBJECT},
            quota="rbac_policy",
            is_plain=True,
            doc="Lets a project, or every project, use an object of another.",
        ),
    ),
    extends=(
        *(_extension(each) for each in SHAREABLE),
        Extends("subnet", answers={"shared": _is_subnet_told}),
    ),
    extensions=(
        Extension(
            "rbac-policies",
            "RBAC Policies",
            "Allows creation and modification of policies that control project access to resources.",
            "2015-06-17T12:15:12-00:00",
        ),
        Extension(
            "security-groups-shared-filtering",
            "Security group filtering on the shared field",
            "Support filtering security groups on the shared field",
            "2021-10-05T09:00:00-00:00",
        ),
        Extension(
            "rbac-security-groups",
            "Add security_group type to network RBAC",
            "Adds security_group type to network RBAC",
            "2019-02-14T00:00:00-00:00",
        ),
        Extension(
            "rbac-address-group",
            "Add address_group type to RBAC",
            "Add address_group type to network RBAC",
            "2021-01-20T00:00:00-00:00",
        ),
        Extension(
            "rbac-subnetpool",
            "Add subnetpool type to RBAC",
            "Add subnetpool type to RBAC",
            "2020-02-05T00:00:00-00:00",
        ),
        Extension(
            "rbac-address-scope",
            "Add address_scope type to RBAC",
            "Add address_scope type to RBAC",
            "2020-02-12T00:00:00-00:00",
        ),
    ),
)
