# SPDX-License-Identifier: Apache-2.0
"""Who a caller is. `Auth` is what every way of finding out fulfils; `NoAuth` believes what it is told."""

from collections.abc import Mapping
from typing import Protocol

from alcor.base.errors import Unauthorized
from alcor.resource.context import Identity, identity, with_implied

DEFAULT_PROJECT = "00000000000000000000000000000001"  # of a caller that names none
DEFAULT_USER = "admin"
_KNOWN_MAX = 4_096  # identities that stay made
_CLAIM_MAX = 255  # characters of what a caller says of itself, as Neutron keeps it


class Auth(Protocol):
    """A way to find out who asks."""

    is_open: (
        bool  # whether callers are believed: such a service listens on loopback only, unless told otherwise
    )

    challenge: bytes  # `WWW-Authenticate` of a 401: how a caller proves who it is

    async def authenticate(self, headers: Mapping[bytes, bytes]) -> Identity:
        """Who asks, by the request's headers (names in lower case). Raises Unauthorized, Unavailable."""


class NoAuth:
    """Believes `X-Project-Id`, `X-User-Id` and `X-Roles`, as Neutron's noauth does.

    A caller that names neither project nor roles is admin in a default project; one that names only its project is a
    member of it, so that isolation holds for whoever asks for it.
    """

    is_open = True
    challenge = b"Keystone"

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bytes], Identity] = {}

    async def authenticate(self, headers: Mapping[bytes, bytes]) -> Identity:
        """The identity that the headers claim. Raises Unauthorized for a claim of absurd length."""
        claim = (
            headers.get(b"x-project-id") or headers.get(b"x-tenant-id") or b"",
            headers.get(b"x-user-id") or b"",
            headers.get(b"x-roles") or headers.get(b"x-role") or b"",
        )
        known = self._known.get(claim)
        if known is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            if max(map(len, claim)) > _CLAIM_MAX:
                raise Unauthorized(
                    f"A project, user or list of roles is longer than {_CLAIM_MAX} characters."
                )
            known = self._known[claim] = _believed(*(part.decode("latin-1") for part in claim))
        return known


def _believed(project_id: str, user_id: str, roles: str) -> Identity:
    names = [role.strip() for role in roles.split(",") if role.strip()]
    if not names:
        names = ["member"] if project_id else ["admin"]
    return identity(project_id or DEFAULT_PROJECT, user_id or DEFAULT_USER, with_implied(names))
