# SPDX-License-Identifier: Apache-2.0
"""Who asks, and what a rule may use of time, ids and randomness."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

from alcor.base.clock import Clock, SystemClock, utc_text
from alcor.base.config import Settings
from alcor.store.declare import Stored, Table
from alcor.store.reader import Reader

if TYPE_CHECKING:
    from alcor.resource.gate import Rulebook
    from alcor.resource.policy import Rights

T = TypeVar("T", bound=Stored)

_PAGE = 4_096  # random bytes fetched at once
_VARIANT = {
    digit: "89ab"[place % 4] for place, digit in enumerate("0123456789abcdef")
}  # two bits of it are fixed


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says of its caller beside project, user and roles."""

    user_domain_id: str = ""
    project_domain_id: str = ""
    domain_id: str = ""  # of a token for a whole domain
    system_scope: str = ""  # "all", or empty
    is_admin_project: bool = True  # as Keystone says it where no admin project is set
    service_roles: frozenset[str] = frozenset()  # of the service that asks on the caller's behalf


class Identity(Standing, frozen=True, kw_only=True):
    """Who asks, as authentication found out. Roles in lower case, with those that they imply."""

    project_id: str  # empty: of no project, as with system scope
    user_id: str
    roles: frozenset[str]
    is_admin: bool
    can_write: bool  # in its own project
    can_read: bool  # its own project


PLAIN = Standing()
# What Keystone adds to the roles of a token. Where everybody is believed an admin need not be a service to act as one.
_IMPLIED = {
    "admin": ("manager", "member", "reader", "service"),
    "manager": ("member", "reader"),
    "member": ("reader",),
}


def with_implied(roles: Iterable[str]) -> set[str]:
    """The roles, in lower case, and those that they imply where no Keystone says which."""
    named = {role.lower() for role in roles}
    return named.union(*(_IMPLIED.get(role, ()) for role in named))


def identity(project_id: str, user_id: str, roles: Iterable[str], standing: Standing = PLAIN) -> Identity:
    """The identity of a caller with these roles, whatever their case. A role that Keystone implies is not added."""
    known = frozenset(role.lower() for role in roles)
    is_admin = "admin" in known
    can_write = is_admin or not known.isdisjoint(("manager", "member"))
    return Identity(
        project_id=project_id,
        user_id=user_id,
        roles=known,
        is_admin=is_admin,
        can_write=can_write,
        can_read=can_write or "reader" in known,
        **msgspec.structs.asdict(standing),
    )


class Entropy:
    """The system's random bytes, fetched a page at a time."""

    def __init__(self) -> None:
        self._bytes = b""
        self._used = 0

    def take(self, count: int) -> bytes:
        """So many random bytes, none of them given before."""
        start = self._used
        self._used += count
        if self._used > len(self._bytes):
            self._bytes = os.urandom(max(_PAGE, count))
            start, self._used = 0, count
        return self._bytes[start : start + count]


@dataclass
class World:
    """What the engine is given of settings, time and randomness."""

    settings: Settings
    clock: Clock = field(default_factory=SystemClock)
    entropy: Callable[[int], bytes] = field(default_factory=lambda: Entropy().take)
    _second: int = -1  # of which `_text` is the text
    _text: str = ""
    _last_id: int = -1  # the first 40 bits of the id made last; -1: none was made

    def now(self) -> str:
        """The time as users see it; made once a second."""
        now_s = int(self.clock.now_s())
        if now_s != self._second:
            self._second, self._text = now_s, utc_text(now_s)
        return self._text

    def new_id(self) -> str:
        """A fresh UUID: ids made one after the other lie beside each other wherever they are kept in order.

        No two begin alike: Nova, libvirt and others name a port's device by the first 11 letters of its id.
        """
        if self._last_id < 0:
            self._last_id = int.from_bytes(self.entropy(5))
        self._last_id = self._last_id + 1 & 0xFF_FFFF_FFFF
        first, digits = f"{self._last_id:010x}", self.entropy(11).hex()
        stem = f"{first[:8]}-{first[8:]}{digits[:2]}-4{digits[2:5]}"
        return f"{stem}-{_VARIANT[digits[5]]}{digits[6:9]}-{digits[9:21]}"


class Asked:
    """One request's `resource.declare.Context`. `given` is set anew for each object of a bulk."""

    __slots__ = (
        "_world", "can_read", "can_write", "child", "given", "is_admin", "listed", "now", "project_id", "request_id",
        "rights", "roles", "rulebook", "settings", "under", "user_id", "who",
    )  # fmt: skip

    def __init__(self, world: World, who: Identity, request_id: str = "") -> None:
        self.project_id = who.project_id
        self.user_id = who.user_id
        self.roles = who.roles
        self.is_admin = who.is_admin
        self.can_write = who.can_write
        self.who = who
        self.rights: Rights | None = None  # worked out when they are first asked for
        self.can_read = who.can_read
        self.request_id = request_id
        self.now = world.now()
        self.given: frozenset[str] = frozenset()
        self.under = self.child = self.listed = ""
        self.settings = world.settings
        self.rulebook: Rulebook | None = None  # given by the noun that is asked
        self._world = world

    def new_id(self) -> str:
        """A fresh UUID."""
        return self._world.new_id()

    def random_bits(self, bits: int) -> int:
        """A number of `bits` random bits."""
        return int.from_bytes(self._world.entropy((bits + 7) // 8), "big") >> (-bits % 8)

    def visible(self, reader: Reader, table: Table[T], id: str) -> T:
        """The object of a noun's table. Raises the table's NotFound, also where the caller may not see it."""
        assert self.rulebook is not None, "a rule was called by no noun"
        return self.rulebook.visible(reader, self, table, id)

    def quota_limit(self, reader: Reader, project_id: str, name: str) -> int:
        """How many objects that quota lets the project have; -1 is no bound."""
        assert self.rulebook is not None, "a rule was called by no noun"
        return self.rulebook.quota_limit(reader, self, project_id, name)

    def quotas(self) -> Sequence[str]:
        """The names of all quotas."""
        assert self.rulebook is not None, "a rule was called by no noun"
        return self.rulebook.quotas

    def quota_used(self, reader: Reader, project_id: str, name: str) -> int:
        """How many objects the project has of those that the quota bounds."""
        assert self.rulebook is not None, "a rule was called by no noun"
        return self.rulebook.quota_used(reader, project_id, name)

    def require(self, rule: str, project_id: str) -> None:
        """Raises Forbidden where a policy rule does not let the caller act on what belongs to this project."""
        assert self.rulebook is not None, "a rule was called by no noun"
        self.rulebook.require(self, rule, project_id)
