# SPDX-License-Identifier: Apache-2.0
"""Who may do what, in the language of oslo.policy: rules by name, overridden by an operator's file.

A rule is worked out once for callers of the same roles and scope; what remains of it is yes, no, or a few comparisons
with the object at hand (`Node`), so that a check costs about a microsecond. Which object that is, and what follows
from a no, is the gate's to know (`resource.gate`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from oslo_policy import _checks as oslo  # the classes of a parsed rule have no public name
from oslo_policy import policy as oslo_policy

from alcor.base.errors import Forbidden
from alcor.base.telemetry import log, log_error, log_warning
from alcor.resource.context import Identity
from alcor.resource.declare import PolicyRule

VERBS = ("create", "get", "update", "delete")
PROJECT_ONLY = ("project",)
RIGHTS_MAX = 1_024  # kinds of callers whose rules stay worked out
RELOAD_S = 1.0  # how often the operator's file is looked at
_OWNERS = frozenset({"project_id", "tenant_id"})
_ATTRIBUTE = re.compile(r"%\((.*?)\)s")
_OLD_TAGS = re.compile(r"(create|get|update|delete)_(.+)_tags")

ADMIN = "rule:admin_only"
BASE: Mapping[str, str] = {
    "context_is_admin": "role:admin",
    "context_with_global_access": "!",
    "context_is_advsvc": "role:advsvc",
    "service_api": "role:service",
    "admin_only": "rule:context_is_admin",
    "owner": "project_id:%(project_id)s",
    "admin_or_owner": "rule:context_is_admin or rule:owner",
    "ext_parent_owner": "project_id:%(ext_parent:project_id)s",
    "admin_or_ext_parent_owner": "rule:context_is_admin or project_id:%(ext_parent:project_id)s",
    "regular_user": "",
    "default": "rule:admin_or_owner",
}


class PolicyError(ValueError):
    """A rule cannot be read; the message names it, its file and what is wrong."""


class Caller(Protocol):
    """Of whom a remaining rule asks."""

    project_id: str
    user_id: str


class Target(Protocol):
    """Of which object a remaining rule asks. A rule that asks for what there is not does not hold."""

    def owner(self, noun: str) -> str | None:
        """The project of the object, or of the one that it names as its `noun`; "ext_parent" is its parent."""

    def value(self, collection: str, name: str) -> object:
        """An attribute by its name in the API, `shared` as the caller sees it. None where it has none."""


class Node(Protocol):
    """What remains of a rule."""

    def holds(self, caller: Caller, target: Target) -> bool:
        """Whether the rule holds for this caller and this object."""


Verdict = bool | Node


@dataclass(frozen=True)
class Owns:
    """The caller's project owns the object, or what it names as its `noun`."""

    noun: str = ""

    def holds(self, caller: Caller, target: Target) -> bool:
        return caller.project_id != "" and target.owner(self.noun) == caller.project_id


@dataclass(frozen=True)
class Has:
    """An attribute has a value, or begins as a pattern says."""

    collection: str
    name: str
    value: str
    pattern: re.Pattern[str] | None = None

    def holds(self, caller: Caller, target: Target) -> bool:
        found = target.value(self.collection, self.name)
        if found is None:
            return False
        if self.pattern is not None:
            return isinstance(found, str) and self.pattern.match(found) is not None
        return str(found) == self.value


@dataclass(frozen=True)
class Matches:
    """One of the caller's values, or its id, is what a text says, filled in from the object."""

    values: tuple[str, ...]
    of_caller: str  # attribute of the caller that is meant instead; ""
    text: str

    def holds(self, caller: Caller, target: Target) -> bool:
        names = _ATTRIBUTE.findall(self.text)
        found = {name: target.owner("") if name in _OWNERS else target.value("", name) for name in names}
        if None in found.values():
            return False
        values = (getattr(caller, self.of_caller),) if self.of_caller else self.values
        return self.text % found in values


@dataclass(frozen=True)
class Every:
    """All of them hold."""

    nodes: tuple[Node, ...]

    def holds(self, caller: Caller, target: Target) -> bool:
        return all(node.holds(caller, target) for node in self.nodes)


@dataclass(frozen=True)
class Either:
    """One of them holds."""

    nodes: tuple[Node, ...]

    def holds(self, caller: Caller, target: Target) -> bool:
        return any(node.holds(caller, target) for node in self.nodes)


@dataclass(frozen=True)
class Opposite:
    """It does not hold."""

    node: Node

    def holds(self, caller: Caller, target: Target) -> bool:
        return not self.node.holds(caller, target)


def ways(node: Node) -> frozenset[str] | None:
    """How an object can come to fulfil it: as its owner's (""), as a noun's owner's, "shared"; None: unknown."""
    match node:
        case Owns():
            return frozenset({node.noun})
        case Has() if (
            node.pattern is None and node.value == "True"
        ):  # shared, or open to all as external networks are
            return frozenset({"shared"})
        case Either():
            some = [found for each in node.nodes if (found := ways(each)) is not None]
            return frozenset().union(*some) if len(some) == len(node.nodes) else None
        case Every():
            return next((found for each in node.nodes if (found := ways(each)) is not None), None)
        case _:
            return None


class Restricted(NamedTuple):
    """Names, `attribute` or `attribute:part`, and attributes of which a body has one where it has one of these."""

    names: frozenset[str]
    heads: frozenset[str]


class Rights:
    """What callers of the same roles and scope may. Rules are worked out when they are first asked for."""

    def __init__(self, rules: _Rules, who: Identity) -> None:
        self._rules = rules
        self._creds = _credentials(who)
        self._roles = who.roles
        self.scope = _scope(who)
        self._verdicts: dict[str, Verdict] = {}
        self._restricted: dict[str, Restricted] = {}
        # By noun: names that are shown of no object, and what decides of others. Kept here by the gates.
        self.hidden: dict[str, tuple[frozenset[str], tuple[tuple[str, Node], ...]]] = {}
        self.is_admin = self.verdict("context_is_admin") is True
        service = (self.verdict("service_api"), self.verdict("context_is_advsvc"))
        self.may_name_project = self.is_admin or True in service

    def has(self, rule: str) -> bool:
        """Whether somebody has written such a rule."""
        return rule in self._rules.checks

    def verdict(self, rule: str) -> Verdict:
        """What remains of the rule. A rule that nobody has written is `default`."""
        found = self._verdicts.get(rule)
        if found is None:
            scopes = self._rules.scopes.get(rule)
            is_out = scopes is not None and self.scope not in scopes
            found = self._verdicts[rule] = False if is_out else self._named(rule)
        return found

    def restricted(self, rule: str) -> Restricted:
        """The names in a body that have a rule of their own which does not hold for every object."""
        found = self._restricted.get(rule)
        if found is None:
            ruled = [given for given in self._rules.checks if given.startswith(f"{rule}:")]
            names = [given.removeprefix(f"{rule}:") for given in ruled if self.verdict(given) is not True]
            heads = {name[:end] for name in names for end, letter in enumerate(f"{name}:") if letter == ":"}
            found = self._restricted[rule] = Restricted(frozenset(names), frozenset(heads))
        return found

    def allows(self, rule: str, caller: Caller, target: Target) -> bool:
        """Whether the rule holds for the object."""
        verdict = self.verdict(rule)
        return verdict if isinstance(verdict, bool) else verdict.holds(caller, target)

    def refusal(self, rule: str, attribute_rule: str = "") -> Forbidden:
        """The refusal of what a rule, or the one of an attribute, does not allow, in Neutron's words."""
        scopes = self._rules.scopes.get(attribute_rule or rule)
        if scopes is not None and self.scope not in scopes:
            return Forbidden(
                f"rule:{rule} requires a scope of {list(scopes)}, request was made with {self.scope} scope.",
                type="InvalidScope",
            )
        named = f"(rule:{rule} and rule:{attribute_rule})" if attribute_rule else f"rule:{rule}"
        return Forbidden(f"{named} is disallowed by policy", type="PolicyNotAuthorized")

    def _named(self, rule: str) -> Verdict:
        check = self._rules.checks.get(rule)
        return self._left(self._rules.checks["default"] if check is None else check)

    def _left(self, check: oslo.BaseCheck) -> Verdict:
        match check:
            case oslo.NotCheck():
                inner = self._left(check.rule)
                return not inner if isinstance(inner, bool) else Opposite(inner)
            case oslo.AndCheck():
                return _joined(False, [self._left(each) for each in check.rules])
            case oslo.OrCheck():
                return _joined(True, [self._left(each) for each in check.rules])
            case _:
                return self._single(check)

    def _single(self, check: oslo.BaseCheck) -> Verdict:
        match check:
            case oslo.RuleCheck():
                return self._named(check.match)
            case oslo.RoleCheck():
                return self._matched(tuple(self._roles), "", check.match.lower())
            case oslo.GenericCheck():
                return self._compared(check.kind, check.match)
            case _:  # `parsed` lets nothing else in
                return isinstance(check, oslo.TrueCheck)

    def _compared(self, kind: str, text: str) -> Verdict:
        if kind == "field":
            collection, _, rest = text.partition(":")
            name, _, value = rest.rpartition("=")
            pattern = re.compile(value[1:]) if value.startswith("~") else None
            return Has(collection, name, value, pattern)
        if kind in _OWNERS and (named := _ATTRIBUTE.fullmatch(text)):
            noun, _, attribute = named[1].rpartition(":")
            if attribute in _OWNERS:
                return Owns(noun)
        if kind in _OWNERS or kind == "user_id":
            return self._matched((), "project_id" if kind in _OWNERS else kind, text)
        try:
            return self._matched((str(ast.literal_eval(kind)),), "", text)
        except (ValueError, SyntaxError):  # no literal: the name of something that the caller has
            return self._matched(self._creds.get(kind, ()), "", text)

    def _matched(self, values: tuple[str, ...], of_caller: str, text: str) -> Verdict:
        if of_caller or "%(" in text:
            return Matches(values, of_caller, text)
        return text in values


@dataclass
class _Rules:
    """All rules at one time, parsed."""

    checks: dict[str, oslo.BaseCheck] = field(default_factory=dict)
    scopes: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Policy:
    """The product's rules and the operator's overrides."""

    def __init__(self, rules: Iterable[PolicyRule]) -> None:
        self.defaults = {rule.name: rule for rule in rules}
        self._plain = _Rules(
            {name: parsed(name, rule.check) for name, rule in self.defaults.items()},
            {name: rule.scopes for name, rule in self.defaults.items() if rule.scopes},
        )
        _check_circles(self._plain.checks)
        self._rules = self._plain
        self._rights: dict[tuple[object, ...], Rights] = {}
        self._file: Path | None = None
        self._seen: tuple[int, int] | None = None  # time and length of the file that was read last
        self._looked_s = 0.0

    def rights(self, who: Identity) -> Rights:
        """What this caller may, by its roles and scope."""
        key = (
            *(who.roles, who.service_roles, who.system_scope, who.domain_id, who.is_admin_project),
            *(who.user_domain_id, who.project_domain_id, who.project_id == ""),
        )
        found = self._rights.get(key)
        if found is None:
            if len(self._rights) >= RIGHTS_MAX:
                self._rights.clear()
            found = self._rights[key] = Rights(self._rules, who)
        return found

    def use(self, file: Path) -> None:
        """Takes the operator's file. Raises PolicyError, OSError where it cannot be read."""
        self._file = file
        self._seen = _stamp(file)
        self._override(file.read_text(encoding="utf-8"))

    def refresh(self, now_s: float) -> None:
        """Reads the operator's file again if it has changed; where it is wrong, says so and keeps what holds."""
        if self._file is None or now_s - self._looked_s < RELOAD_S:
            return
        self._looked_s = now_s
        try:
            stamp = _stamp(self._file)
            if stamp == self._seen:
                return
            self._seen = stamp
            self._override(self._file.read_text(encoding="utf-8"))
            log("policy read again", file=self._file)
        except (PolicyError, OSError, UnicodeDecodeError) as wrong:
            log_error("policy file not taken", file=self._file, why=str(wrong))

    def _override(self, text: str) -> None:
        try:
            given = oslo_policy.parse_file_contents(text)
        except ValueError as wrong:
            raise PolicyError(f"Policy file {self._file}: {wrong}") from None
        if not isinstance(given, dict):
            raise PolicyError(f"Policy file {self._file} is no table of rules by name.")
        checks = dict(self._plain.checks)
        for name, check in given.items():
            new = self._renamed(name)
            if new == name or new not in given:
                checks[new] = parsed(name, check)
        _check_circles(checks)
        self._rules = _Rules(checks, self._plain.scopes)
        self._rights.clear()
        if self.unknown():
            log_warning("policy names rules that are not here", rules=", ".join(self.unknown()))

    def unknown(self) -> list[str]:
        """The rules of the file that nothing asks for, and as `rule:` those that it asks for and nobody wrote, which
        are `default`: of what is not here, or misspelt.
        """
        checks = self._rules.checks
        asked = {
            each.match for one in checks.values() for each in _within(one) if isinstance(each, oslo.RuleCheck)
        }
        nouns = self.defaults.keys() | asked
        idle = [name for name in checks if name not in nouns and name.partition(":")[0] not in nouns]
        return sorted([*idle, *(f"rule:{name}" for name in asked - checks.keys())])

    def _renamed(self, name: str) -> str:
        """The name that a rule has today: `get_network:tags` was `get_networks_tags`."""
        old = _OLD_TAGS.fullmatch(name)
        if old is None or name in self.defaults:
            return name
        verb, nouns = old.groups()
        singular = nouns[:-3] + "y" if nouns.endswith("ies") else nouns.removesuffix("s")
        return f"{verb}_{singular}:tags"


def rules_of(noun: str, by_check: Mapping[str, str]) -> tuple[PolicyRule, ...]:
    """Rules of a noun: under each check the verbs, `verb:attribute`, and actions by their whole name."""
    return tuple(
        PolicyRule(_rule_name(noun, word), check)
        for check, words in by_check.items()
        for word in words.split()
    )


def shared_rules(by_name: Mapping[str, str]) -> tuple[PolicyRule, ...]:
    """Rules that others name; a token of any scope may fulfil them."""
    return tuple(PolicyRule(name, check, ()) for name, check in by_name.items())


def parsed(name: str, text: object) -> oslo.BaseCheck:
    """The rule. Raises PolicyError for one that oslo.policy does not understand, or that would ask another server."""
    if not isinstance(text, str):
        raise PolicyError(f"Rule {name} is not a text but {text!r}.")
    check = oslo_policy.RuleDefault(name, text).check
    kinds = list(_within(check))
    if sum(isinstance(each, oslo.FalseCheck) for each in kinds) != text.split().count("!"):
        raise PolicyError(f"Rule {name} cannot be understood: {text!r}.")
    known = oslo.TrueCheck | oslo.FalseCheck | oslo.RuleCheck | oslo.RoleCheck | oslo.GenericCheck
    for each in kinds:
        if not isinstance(each, known):
            raise PolicyError(f"Rule {name} asks another server ({each}): a check must not wait for one.")
        if isinstance(each, oslo.RoleCheck | oslo.GenericCheck) and "%" in _ATTRIBUTE.sub("", each.match):
            raise PolicyError(f"Rule {name} names no attribute as %(name)s: {each.match}.")
        if isinstance(each, oslo.GenericCheck) and each.kind == "field" and "=" not in each.match:
            raise PolicyError(f"Rule {name} compares no field: field:{each.match}.")
        if isinstance(each, oslo.GenericCheck) and each.kind == "field" and "=~" in each.match:
            _check_pattern(name, each.match.partition("=~")[2])
    return check


def _check_pattern(name: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as wrong:
        raise PolicyError(f"Rule {name} has a pattern that is none: {pattern} ({wrong}).") from None


def _rule_name(noun: str, word: str) -> str:
    verb, colon, attribute = word.partition(":")
    return f"{verb}_{noun}{colon}{attribute}" if verb in VERBS else word


def _within(check: oslo.BaseCheck) -> Iterable[oslo.BaseCheck]:
    """The single checks of which it is made."""
    match check:
        case oslo.NotCheck():
            yield from _within(check.rule)
        case oslo.AndCheck() | oslo.OrCheck():
            for each in check.rules:
                yield from _within(each)
        case _:
            yield check


def _check_circles(checks: Mapping[str, oslo.BaseCheck]) -> None:
    """Raises PolicyError where a rule leads back to itself."""
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise PolicyError(f"Rule {name} leads back to itself: {' -> '.join((*path, name))}.")
        if name in done or name not in checks:
            return
        for check in _within(checks[name]):
            if isinstance(check, oslo.RuleCheck):
                visit(check.match, (*path, name))
        done.add(name)

    for name in checks:
        visit(name, ())


def _joined(absorbs: bool, verdicts: list[Verdict]) -> Verdict:
    """`or` where True absorbs, `and` where False does."""
    if absorbs in verdicts:
        return absorbs
    nodes = tuple(verdict for verdict in verdicts if not isinstance(verdict, bool))
    if len(nodes) > 1:
        return Either(nodes) if absorbs else Every(nodes)
    return nodes[0] if nodes else not absorbs


def _credentials(who: Identity) -> dict[str, tuple[str, ...]]:
    """What a rule may ask of the caller beside roles, project and user: lists as they are, the rest as one text."""
    found = {
        "roles": tuple(who.roles),
        "service_roles": tuple(who.service_roles),
        "is_admin_project": (str(who.is_admin_project),),
        "is_admin": (str("admin" in who.roles),),
    }
    single = {
        "system_scope": who.system_scope,
        "domain_id": who.domain_id,
        "user_domain_id": who.user_domain_id,
        "project_domain_id": who.project_domain_id,
    }
    return found | {name: (value,) for name, value in single.items() if value}


def _scope(who: Identity) -> str:
    if who.system_scope:
        return "system"
    if who.domain_id:
        return "domain"
    return "project" if who.project_id else "unscoped"


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size
