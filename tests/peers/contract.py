# SPDX-License-Identifier: Apache-2.0
"""How Alcor's declarations differ from the reference's, for everything that Alcor says it has."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from alcor.api.discovery import EXTENSIONS
from alcor.base.errors import Invalid
from alcor.features.control import REST
from alcor.resource.attribute import Attribute
from alcor.resource.engine import Engine
from tests.peers.declarations import CORE, FLAGS, POLICIES, PROBES, UNSET, Declared, read

DIFFERENCES = Path(__file__).with_name("differences.toml")


def reviewed() -> dict[str, str]:
    """The differences that a person has looked at, with their reasons; `*` stands for any text."""
    groups = tomllib.loads(DIFFERENCES.read_text(encoding="utf-8"))["differences"]
    return {difference: group["reason"] for group in groups for difference in group["are"]}


def unreviewed(differences: Iterable[str], known: Mapping[str, str]) -> list[str]:
    """What no person has looked at."""
    return sorted(each for each in differences if not any(_is_like(each, like) for like in known))


def stale(differences: Iterable[str], known: Mapping[str, str]) -> list[str]:
    """What is no longer so."""
    found = list(differences)
    return sorted(like for like in known if not any(_is_like(each, like) for each in found))


def _is_like(difference: str, like: str) -> bool:
    return difference == like or fnmatchcase(difference, like)


def aliases() -> list[str]:
    """What Alcor advertises, in the order in which the reference's declarations apply."""
    engine = Engine(REST)
    return [CORE, *sorted(one.alias for one in (*EXTENSIONS, *engine.extensions))]


def attributes_differ() -> Iterator[str]:
    """A line for each way in which an attribute of an advertised extension is not as the reference declares it."""
    ours, theirs = _ours(), _theirs()
    nouns = {noun for noun, _ in ours}
    for (noun, name), wanted in theirs.items():
        place = f"{noun}.{name}"
        if noun not in nouns:
            yield f"{noun} absent"
        elif (noun, name) not in ours:
            yield f"{place} absent"
        else:
            yield from (f"{place} {difference}" for difference in _differ(ours[noun, name], wanted))
    for (noun, name), found in ours.items():
        if (noun, name) not in theirs and found.flags & {"post", "put", "visible"}:
            yield f"{noun}.{name} extra"


def policies_differ() -> Iterator[str]:
    """A line for each default rule of policy that is not as the reference's."""
    theirs = {}
    for each in POLICIES.read_text(encoding="utf-8").splitlines():
        name, check, scopes = each.split("\t")
        theirs[name] = (check, frozenset(filter(None, scopes.split(","))))
    for rule in (rule for feature in REST for rule in feature.policies):
        wanted = theirs.get(rule.name)
        if wanted is None:
            yield f"{rule.name} extra"
        else:
            if " ".join(rule.check.split()) != " ".join(wanted[0].split()):
                yield f"{rule.name} check"
            if wanted[1] and frozenset(rule.scopes) != wanted[1]:
                yield f"{rule.name} scopes"


def _theirs() -> dict[tuple[str, str], Declared]:
    """What the advertised extensions declare together: a later one adds to an attribute, or replaces it."""
    declared, advertised = read(), aliases()
    found: dict[tuple[str, str], Declared] = {}
    for alias in advertised:
        found |= {(noun, name): each for (by, noun, name), each in declared.items() if by == alias}
    nouns = {noun for (by, noun, _) in declared if by in advertised and not by.startswith("standard-attr-")}
    return {(noun, name): each for (noun, name), each in found.items() if noun in nouns}


def _ours() -> dict[tuple[str, str], Declared]:
    found: dict[tuple[str, str], Declared] = {}
    for noun in Engine(REST).nouns.values():
        resource, plural = noun.resource, noun.resource.plural
        cannot = {"post", "required"} if resource.on_create is None else set()
        cannot |= {"put"} if resource.on_update is None else set()
        for attribute in noun.shape.attributes:
            found[plural, attribute.name] = _declared(attribute, frozenset(cannot))
        for computed in noun.shape.computed:
            said = {"visible": computed.visible, "filter": computed.filter, "sort": computed.sort}
            flags = frozenset(flag for flag, is_so in said.items() if is_so)
            found[plural, computed.name] = Declared(flags, UNSET, frozenset())
        if (plural, "project_id") in found:
            found[plural, "tenant_id"] = found[plural, "project_id"]
    return found


def _declared(attribute: Attribute, cannot: frozenset[str]) -> Declared:
    """As it is declared, without what the noun itself refuses: POST where none can be made, PUT where none changes."""
    api = attribute.api
    said = (api.post, api.put, attribute.is_required, api.visible, api.filter, api.sort)
    flags = frozenset(flag for flag, is_so in zip(FLAGS, said, strict=True) if is_so) - cannot
    default = UNSET
    if attribute.default is not msgspec.UNSET and not attribute.is_required:
        default = msgspec.json.encode(attribute.default).decode()
    is_given = bool(flags & {"post", "put"})
    takes = frozenset(name for name, value in PROBES.items() if is_given and _is_taken(attribute, value))
    return Declared(flags, default, takes)


def _is_taken(attribute: Attribute, value: object) -> bool:
    try:
        attribute.parse(value)
    except (ValueError, Invalid):
        return False
    return True


def _differ(found: Declared, wanted: Declared) -> Iterator[str]:
    for flag in FLAGS:
        if (flag in found.flags) != (flag in wanted.flags):
            yield f"{'is' if flag in found.flags else 'is not'} {flag}"
    is_given = bool(wanted.flags & {"post", "put"})
    if is_given and wanted.default not in (UNSET, found.default):
        yield f"default {found.default}, not {wanted.default}"
    if is_given and found.flags & {"post", "put"}:
        more, less = found.takes - wanted.takes, wanted.takes - found.takes
        if more:
            yield f"takes {', '.join(probe for probe in PROBES if probe in more)}"
        if less:
            yield f"refuses {', '.join(probe for probe in PROBES if probe in less)}"
