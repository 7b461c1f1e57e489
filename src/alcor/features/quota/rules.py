# SPDX-License-Identifier: Apache-2.0
"""How a project's bounds are shown and set. They are held to where objects are made, in the same turn, by counting."""

from collections.abc import Mapping, Sequence

import msgspec

from alcor.base.errors import Invalid
from alcor.features.quota.model import QUOTA, ProjectQuota
from alcor.resource.declare import Call, Context, Extension, RestFeature
from alcor.resource.parse import parse_int
from alcor.resource.query import parse_call
from alcor.store.reader import Reader, Txn

LIMIT_MAX = 2_147_483_647
_FLAGS = ("force", "check_limit")  # of a PUT, beside the bounds

Bounds = dict[str, int | str]


def limit(reader: Reader, project_id: str, name: str) -> int | None:
    """The project's own bound, if it has one."""
    own = reader.peek(QUOTA, project_id)
    return None if own is None else own.limits.get(name)


def on_list(
    txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, Sequence[str]]
) -> dict[str, list[Bounds]]:
    """The bounds of every project that has some of its own. As in Neutron there are no pages, nor filters."""
    ctx.require("get_quota", "")
    fields = parse_call(query, -1, None).fields
    found = []
    for own in txn.scan(QUOTA):
        bounds: Bounds = dict(_bounds(txn, ctx, own.id))
        bounds |= {"project_id": own.id, "tenant_id": own.id}
        found.append({name: bounds[name] for name in bounds if not fields or name in fields})
    return {"quotas": found}


def on_project(
    txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, object]
) -> dict[str, dict[str, str]]:
    """The caller's project, under the name that the URL ends with."""
    if not ctx.project_id:
        raise Invalid("Tenant-id was missing from quota request.", type="QuotaMissingTenant")
    return {"project": {"project_id": ctx.project_id}}


def on_tenant(
    txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, object]
) -> dict[str, dict[str, str]]:
    """As `on_project`, by the older name."""
    project_id = on_project(txn, ctx, names, query)["project"]["project_id"]
    return {"tenant": {"tenant_id": project_id}}


def on_show(
    txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, object]
) -> dict[str, dict[str, int]]:
    """The bounds of a project."""
    return {"quota": _bounds(txn, ctx, _readable(ctx, names))}


def on_default(
    txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, object]
) -> dict[str, dict[str, int]]:
    """The bounds of a project that has none of its own."""
    _readable(ctx, names)
    return {"quota": {name: int(ctx.settings.quota(name)) for name in ctx.quotas()}}


def on_details(
    txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, object]
) -> dict[str, dict[str, dict[str, int]]]:
    """Bounds, and how much of each is used. Nothing is ever reserved: a turn counts and creates at once."""
    project_id = _readable(ctx, names)
    used = {name: ctx.quota_used(txn, project_id, name) for name in ctx.quotas()}
    bounds = _bounds(txn, ctx, project_id)
    return {"quota": {name: {"limit": bounds[name], "used": used[name], "reserved": 0} for name in bounds}}


def on_update(
    txn: Txn, ctx: Context, names: tuple[str, ...], body: Mapping[str, object]
) -> dict[str, dict[str, int]]:
    """Sets bounds. Raises Invalid for one below what the project has, unless it is forced."""
    (project_id,) = names
    ctx.require("update_quota", project_id)
    limits, is_forced = _asked(ctx, body)
    for name, most in limits.items():
        used = ctx.quota_used(txn, project_id, name)
        if not is_forced and 0 <= most < used:
            raise Invalid(
                f"Quota limit {most} for {name} must be greater than or equal to already used {used}"
            )
    old = txn.peek(QUOTA, project_id)
    if old is None:
        txn.insert(QUOTA, ProjectQuota(id=project_id, limits=limits))
    else:
        txn.update(QUOTA, msgspec.structs.replace(old, limits=old.limits | limits))
    return {"quota": _bounds(txn, ctx, project_id)}


def on_delete(txn: Txn, ctx: Context, names: tuple[str, ...], body: Mapping[str, object]) -> None:
    """Back to the defaults. Raises NotFound where the project had no bounds of its own."""
    (project_id,) = names
    ctx.require("delete_quota", project_id)
    txn.get(QUOTA, project_id)
    txn.delete(QUOTA, project_id)


def _readable(ctx: Context, names: tuple[str, ...]) -> str:
    """The project that the URL names. Everybody may look at its own."""
    (project_id,) = names
    if project_id != ctx.project_id:
        ctx.require("get_quota", project_id)
    return project_id


def _bounds(reader: Reader, ctx: Context, project_id: str) -> dict[str, int]:
    return {name: ctx.quota_limit(reader, project_id, name) for name in ctx.quotas()}


def _asked(ctx: Context, body: Mapping[str, object]) -> tuple[dict[str, int], bool]:
    """The bounds in the body of a PUT, and whether they are forced. Raises Invalid."""
    given = body.get("quota")
    if not isinstance(given, dict):
        raise Invalid("Unable to find 'quota' in request body")
    unknown = sorted(str(name) for name in given if name not in ctx.quotas() and name not in _FLAGS)
    if unknown:
        raise Invalid(f"Unrecognized attribute(s) '{', '.join(unknown)}'")
    limits = {}
    for name, value in given.items():
        if name in _FLAGS:
            continue
        try:
            limits[name] = _limit(value)
        except ValueError as wrong:
            raise Invalid(f"Invalid input for {name}. Reason: {wrong}.") from None
    return limits, given.get("force") is True


def _limit(value: object) -> int:
    most = parse_int(value)
    if not -1 <= most <= LIMIT_MAX:
        raise ValueError(f"'{most}' is not in range -1 to {LIMIT_MAX}")
    return most


_PROJECT = "quotas/{project_id}"

REST = RestFeature(
    name="quota",
    quota_limit=limit,
    calls=(
        Call("quotas", "GET", on_list, collection="quotas", rule="get_quota", doc="Bounds of all projects."),
        Call("quotas/project", "GET", on_project, doc="The caller's project."),
        Call("quotas/tenant", "GET", on_tenant, doc="The caller's project."),
        Call(_PROJECT, "GET", on_show, rule="get_quota", doc="Bounds of a project."),
        Call(_PROJECT, "PUT", on_update, rule="update_quota", doc="Set bounds of a project."),
        Call(
            _PROJECT, "DELETE", on_delete, status=204, rule="delete_quota", doc="Back to the default bounds."
        ),
        Call(f"{_PROJECT}/default", "GET", on_default, rule="get_quota", doc="Default bounds."),
        Call(f"{_PROJECT}/details", "GET", on_details, rule="get_quota", doc="Bounds and use."),
        Call(f"{_PROJECT}/details.json", "GET", on_details, doc="Bounds and use."),
    ),
    extensions=(
        Extension(
            "quotas",
            "Quota management support",
            "Expose functions for quotas management per project",
            "2012-07-29T10:00:00-00:00",
        ),
        Extension(
            "quota_details",
            "Quota details management support",
            "Expose functions for quotas usage statistics per project",
            "2017-02-10T10:00:00-00:00",
        ),
        Extension(
            "quota-check-limit",
            "Quota engine limit check",
            "Support for checking the resource usage before applying a new quota limit",
            "2021-09-08T16:00:00-00:00",
        ),
        Extension(
            "quota-check-limit-default",
            "Quota engine limit check by default",
            "By default, the Neutron quota engine checks the resource usage before applying a new quota limit",
            "2024-08-21T16:00:00-00:00",
        ),
    ),
)
