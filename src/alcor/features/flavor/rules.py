# SPDX-License-Identifier: Apache-2.0
"""What may be done with flavors and service profiles, and which providers of services there are."""

from collections.abc import Mapping, Sequence

import msgspec

from alcor.base.errors import Conflict, Invalid, NotFound, Unavailable
from alcor.features.flavor.model import (
    BY_PROFILE,
    FLAVOR,
    SERVICE_PROFILE,
    Flavor,
    ServiceProfile,
    profile_in_use,
)
from alcor.resource import parse
from alcor.resource.declare import Action, Call, Computed, Context, Extension, Resource, RestFeature, revised
from alcor.resource.query import sifted
from alcor.store.reader import Reader, Txn


class _Named(msgspec.Struct, frozen=True):
    id: str


class _Association(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body that names a profile of a flavor."""

    service_profile: _Named


def on_profile(txn: Txn, ctx: Context, new: ServiceProfile) -> ServiceProfile:
    """The new profile. Raises NotFound for a driver of no provider, Invalid where it says nothing."""
    if new.driver:
        _provider(ctx, new.driver)
    elif not new.metainfo:
        raise Invalid("Service Profile needs either a driver or metainfo.", type="ServiceProfileEmpty")
    return new


def on_update_profile(txn: Txn, ctx: Context, old: ServiceProfile, new: ServiceProfile) -> ServiceProfile:
    """The changed profile. Raises Conflict while a flavor has it."""
    if new.driver and "driver" in ctx.given:
        _provider(ctx, new.driver)
    if txn.count(FLAVOR, BY_PROFILE, old.id):
        raise profile_in_use(old)
    return new


def associate(txn: Txn, ctx: Context, flavor: Flavor, body: Mapping[str, object]) -> object:
    """Gives the flavor one more profile. Raises Conflict where it has it already."""
    profile = parse.struct(_Association, body).service_profile.id
    if profile in flavor.service_profiles:
        raise Conflict(
            f"Service Profile {profile} is already associated with flavor {flavor.id}.",
            type="FlavorServiceProfileBindingExists",
        )
    txn.update(FLAVOR, revised(ctx, flavor, service_profiles=(*flavor.service_profiles, profile)))
    return {"service_profile": {"id": profile}}


def on_association(txn: Txn, ctx: Context, flavor: Flavor, query: Mapping[str, object]) -> object:
    """That the flavor has the profile: as in Neutron without a word of either. Raises NotFound where it has not."""
    if ctx.child not in flavor.service_profiles:
        raise _not_associated(ctx.child, flavor)
    return {"service_profile": {}}


def dissociate(txn: Txn, ctx: Context, flavor: Flavor, body: Mapping[str, object]) -> None:
    """Takes a profile from the flavor. Raises NotFound where it has not got it."""
    on_association(txn, ctx, flavor, body)
    left = tuple(profile for profile in flavor.service_profiles if profile != ctx.child)
    txn.update(FLAVOR, revised(ctx, flavor, service_profiles=left))


def next_provider(txn: Txn, ctx: Context, flavor: Flavor, query: Mapping[str, object]) -> object:
    """The driver and provider of the flavor's first profile. Raises what is missing of them."""
    if not flavor.service_profiles:
        raise _not_associated("", flavor)
    profile = txn.get(SERVICE_PROFILE, flavor.service_profiles[0])
    if not profile.enabled:
        raise Unavailable("Service Profile is not enabled.", type="ServiceProfileDisabled")
    provider = _provider(ctx, profile.driver)
    return {"next_providers": [{"driver": profile.driver, "provider": provider["name"]}]}


def on_providers(
    txn: Txn, ctx: Context, names: tuple[str, ...], query: Mapping[str, Sequence[str]]
) -> dict[str, object]:
    """The providers that are set, for everybody."""
    ctx.require("get_service_provider", ctx.project_id)
    filters = ("service_type", "name", "default")
    known = {name: query[name] for name in (*filters, "fields") if name in query}
    drivers = query.get("driver", ())
    rows = [row for row in _providers(ctx) if not drivers or row["driver"] in drivers]
    return {
        "service_providers": sifted([{name: row[name] for name in filters} for row in rows], known, filters)
    }


def _providers(ctx: Context) -> list[Mapping[str, object]]:
    return [
        {"service_type": kind, "name": name, "driver": driver, "default": last == "default"}
        for kind, name, driver, last in ctx.settings.service_providers
    ]


def _provider(ctx: Context, driver: str) -> Mapping[str, object]:
    for provider in _providers(ctx):
        if provider["driver"] == driver:
            return provider
    raise NotFound(
        f"Service Profile driver {driver} could not be found.", type="ServiceProfileDriverNotFound"
    )


def _not_associated(profile: str, flavor: Flavor) -> NotFound:
    return NotFound(
        f"Service Profile {profile} is not associated with flavor {flavor.id}.",
        type="FlavorServiceProfileBindingNotFound",
    )


def _flavors_of(reader: Reader, profile: ServiceProfile) -> list[str]:
    return [flavor.id for flavor in reader.find(FLAVOR, BY_PROFILE, profile.id)]


REST = RestFeature(
    name="flavor",
    resources=(
        Resource(
            name="service_profile",
            plural="service_profiles",
            path="service_profiles",
            table=SERVICE_PROFILE,
            on_create=on_profile,
            on_update=on_update_profile,
            on_delete=lambda txn, ctx, old: None,  # flavors refuse through their reference
            computed=(Computed("flavors", _flavors_of, {"type": "array", "items": {"type": "string"}}),),
            doc="How a provider serves a flavor.",
        ),
        Resource(
            name="flavor",
            plural="flavors",
            path="flavors",
            table=FLAVOR,
            aliases=("flavors",),
            on_create=lambda txn, ctx, new: new,
            on_update=lambda txn, ctx, old, new: new,
            on_delete=lambda txn, ctx, old: None,
            actions=(
                Action(
                    "service_profiles", "POST", associate, status=201, rule="create_flavor_service_profile"
                ),
                Action(
                    "service_profiles",
                    "DELETE",
                    dissociate,
                    status=204,
                    of="child",
                    rule="delete_flavor_service_profile",
                ),
                Action(
                    "service_profiles",
                    "GET",
                    on_association,
                    of="child",
                    rule="get_flavor_service_profile",
                ),
                Action("next_provider", "GET", next_provider, rule="get_flavor"),
            ),
            doc="What users may choose of a service.",
        ),
    ),
    calls=(
        Call(
            "service-providers",
            "GET",
            on_providers,
            collection="service_providers",
            rule="get_service_provider",
            doc="Who provides services.",
        ),
    ),
    extensions=(
        Extension(
            "flavors",
            "Neutron Service Flavors",
            "Flavor specification for Neutron advanced services.",
            "2015-09-17T10:00:00-00:00",
        ),
        Extension(
            "service-type",
            "Neutron Service Type Management",
            "API for retrieving service providers for Neutron advanced services",
            "2013-01-20T00:00:00-00:00",
        ),
    ),
)
