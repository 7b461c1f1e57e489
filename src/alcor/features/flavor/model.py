# SPDX-License-Identifier: Apache-2.0
"""What a flavor is, and the service profiles that it stands for."""

from typing import Annotated

from alcor.base.errors import Conflict, Invalid, NotFound
from alcor.resource.declare import Api, Standard
from alcor.resource.parse import parse_tags, parse_text, parse_uuid
from alcor.store.declare import Index, Reference, Table

TEXT_LENGTH_MAX = 1_024
# The services that run here, as Neutron names their plugins.
SERVICE_TYPES = (
    *("CORE", "FLAVORS", "QOS", "trunk", "TAG", "TIMESTAMP_CORE", "revision_plugin"),
    *("network_ip_availability",),
)


def _service_type(value: object) -> str:
    if value not in SERVICE_TYPES:
        raise Invalid(f"Invalid service type: {value}.", type="InvalidServiceType")
    return parse_text(value)


def _profiles(value: object) -> tuple[str, ...]:
    return tuple(parse_uuid(each) for each in parse_tags(value))


class ServiceProfile(Standard, frozen=True, kw_only=True):
    """How a provider serves: its driver, and what it is told."""

    description: Annotated[str, Api(put=True, max_length=TEXT_LENGTH_MAX, nullable=True)] = ""
    driver: Annotated[str, Api(put=True, max_length=TEXT_LENGTH_MAX)] = ""
    metainfo: Annotated[str, Api(put=True, filter=False, max_length=65_535)] = ""
    enabled: Annotated[bool, Api(put=True)] = True


def _profile_missing(id: str) -> NotFound:
    return NotFound(f"Service Profile {id} could not be found.", type="ServiceProfileNotFound")


def profile_in_use(profile: ServiceProfile) -> Conflict:
    """The refusal of what would change a profile under the flavors that have it."""
    return Conflict(
        f"Service Profile {profile.id} is used by some service instance.", type="ServiceProfileInUse"
    )


SERVICE_PROFILE: Table[ServiceProfile] = Table("service_profile", ServiceProfile, missing=_profile_missing)


class Flavor(Standard, frozen=True, kw_only=True):
    """What users may choose of a service."""

    name: Annotated[str, Api(put=True, max_length=255)] = ""
    description: Annotated[str, Api(put=True, max_length=TEXT_LENGTH_MAX, nullable=True)] = ""
    service_type: Annotated[str, Api(required=True, parse=_service_type)]
    service_profiles: Annotated[
        tuple[str, ...], Api(put=True, filter=False, sort=False, parse=_profiles)
    ] = ()
    enabled: Annotated[bool, Api(put=True)] = True


BY_PROFILE: Index[Flavor] = Index("service_profile", lambda flavor: flavor.service_profiles)

FLAVOR: Table[Flavor] = Table(
    "flavor",
    Flavor,
    indexes=(BY_PROFILE,),
    references=(
        Reference(
            "service_profiles",
            SERVICE_PROFILE,
            lambda flavor: flavor.service_profiles,
            in_use=profile_in_use,
            by=BY_PROFILE,
        ),
    ),
)
