# SPDX-License-Identifier: Apache-2.0
"""What the reference declares of each attribute, and of each policy rule, as lines of two tables.

`python declarations.py FOLDER`, run by the Python of an environment that has Neutron, writes both. The tables are kept
beside this file.
"""

import contextlib
import importlib
import json
import pkgutil
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ATTRIBUTES = Path(__file__).with_name("attributes.tsv")
POLICIES = Path(__file__).with_name("policies.tsv")
FLAGS = ("post", "put", "required", "visible", "filter", "sort")
# Of other projects, which Neutron 29 itself has not.
OTHERS = ("dummy", "bgp", "evpn", "flow_classifier", "fwaas", "pvlan", "sfc", "taas", "tap-", "vpn")
CORE = "core"  # instead of an alias: what is there without any extension
UNSET = "unset"  # the default that says: the service chooses

# What is given to both sides for each attribute that may be given: who takes which of these must agree.
PROBES: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "'false'": "false",
    "''": "",
    "' '": " ",
    "'a'": "a",
    "255": "x" * 255,
    "256": "x" * 256,
    "-1": -1,
    "0": 0,
    "1": 1,
    "'4'": "4",
    "4": 4,
    "1500": 1_500,
    "70000": 70_000,
    "1.5": 1.5,
    "address": "10.0.0.5",
    "address6": "2001:db8::5",
    "cidr": "10.0.0.0/24",
    "host cidr": "10.0.0.5/24",
    "cidr6": "2001:db8::/64",
    "mac": "fa:16:3e:00:00:01",
    "MAC-": "FA-16-3E-00-00-01",
    "uuid": "11111111-2222-4333-8444-555555555555",
    "hex uuid": "11111111222243338444555555555555",
    "[]": [],
    "['a']": ["a"],
    "[uuid]": ["11111111-2222-4333-8444-555555555555"],
    "[address]": ["10.0.0.5"],
    "[same, same]": ["10.0.0.5", "10.0.0.5"],
    "[cidr]": ["10.0.0.0/24"],
    "{}": {},
    "{a: 1}": {"a": "1"},
    "[{}]": [{}],
    "[{ip_address}]": [{"ip_address": "10.0.0.5"}],
    "[pool]": [{"start": "10.0.0.2", "end": "10.0.0.9"}],
    "[route]": [{"destination": "10.1.0.0/24", "nexthop": "10.0.0.1"}],
}


@dataclass(frozen=True)
class Declared:
    """One attribute as the reference, or Alcor, declares it."""

    flags: frozenset[str]  # of FLAGS
    default: str  # JSON, or "unset"
    takes: frozenset[str]  # of PROBES' names; empty where it may not be given


def read(path: Path = ATTRIBUTES) -> dict[tuple[str, str, str], Declared]:
    """The table: by alias, noun (plural) and attribute."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        alias, noun, name, flags, default, takes = line.split("\t")
        taken = frozenset(probe for probe, mark in zip(PROBES, takes, strict=False) if mark == "1")
        found[alias, noun, name] = Declared(frozenset(filter(None, flags.split(","))), default, taken)
    return found


def line(alias: str, noun: str, name: str, declared: Declared) -> str:
    """The attribute's line of the table."""
    flags = ",".join(flag for flag in FLAGS if flag in declared.flags)
    takes = "".join("1" if probe in declared.takes else "0" for probe in PROBES) if declared.takes else ""
    return f"{alias}\t{noun}\t{name}\t{flags}\t{declared.default}\t{takes}"


def _attributes() -> Iterator[str]:
    """The lines of all that neutron-lib and Neutron declare for an alias, in order."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for alias, module in _modules():
        for table in ("RESOURCE_ATTRIBUTE_MAP", "EXTENDED_ATTRIBUTES_2_0"):
            for noun, attributes in (getattr(module, table, None) or {}).items():
                found |= {(alias, noun, name): attribute for name, attribute in attributes.items()}
        for noun, child in (getattr(module, "SUB_RESOURCE_ATTRIBUTE_MAP", None) or {}).items():
            found |= {(alias, noun, name): each for name, each in child.get("parameters", {}).items()}
    for key in sorted(found):
        yield line(*key, _declared(found[key]))


def _modules() -> Iterator[tuple[str, Any]]:
    """Every module that declares attributes, with its alias."""
    core = ("network", "subnet", "port", "subnetpool")
    for package in ("neutron_lib.api.definitions", "neutron.extensions"):
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
            module = importlib.import_module(f"{package}.{found.name}")
            alias = getattr(module, "ALIAS", None) or _alias_of(module)
            if alias and not alias.startswith(OTHERS):
                yield (CORE if found.name in core else alias), module
    yield from _standard()


def _alias_of(module: Any) -> str | None:
    for kind in vars(module).values():
        if isinstance(kind, type) and kind.__module__ == module.__name__ and hasattr(kind, "get_alias"):
            with contextlib.suppress(Exception):
                return str(kind.get_alias())
    return None


def _standard() -> Iterator[tuple[str, Any]]:
    """What standard attributes add to nouns, which Neutron works out when it starts."""
    model = importlib.import_module("neutron_lib.db.standard_attr")
    importlib.import_module("neutron.db.migration.models.head")  # every noun
    nouns = set(model.get_standard_attr_resource_model_map())
    for alias, place, body in (
        ("standard-attr-timestamp", "timestamp", "TIMESTAMP_BODY"),
        ("standard-attr-revisions", "revisions", "REVISION_BODY"),
        ("standard-attr-description", "standardattrdescription", "DESCRIPTION_BODY"),
        ("standard-attr-tag", "tagging", "TAG_ATTRIBUTE_MAP"),
    ):
        table = getattr(importlib.import_module(f"neutron.extensions.{place}"), body)
        yield alias, type(alias, (), {"RESOURCE_ATTRIBUTE_MAP": dict.fromkeys(sorted(nouns), table)})


def _declared(attribute: Mapping[str, Any]) -> Declared:
    is_given = bool(attribute.get("allow_post") or attribute.get("allow_put"))
    said = {
        "post": attribute.get("allow_post"),
        "put": attribute.get("allow_put"),
        "required": attribute.get("allow_post") and "default" not in attribute,
        "visible": attribute.get("is_visible"),
        "filter": attribute.get("is_filter"),
        "sort": attribute.get("is_sort_key"),
    }
    takes = (
        frozenset(name for name, value in PROBES.items() if _is_taken(attribute, value)) if is_given else ()
    )
    return Declared(frozenset(flag for flag in FLAGS if said[flag]), _default(attribute), frozenset(takes))


def _default(attribute: Mapping[str, Any]) -> str:
    try:
        return json.dumps(attribute.get("default"), sort_keys=True) if "default" in attribute else UNSET
    except TypeError:
        return UNSET


def _is_taken(attribute: Mapping[str, Any], value: Any) -> bool:
    attributes = importlib.import_module("neutron_lib.api.attributes")
    given = {"it": json.loads(json.dumps(value))}
    try:
        attributes.AttributeInfo({"it": attribute}).convert_values(given)
    except Exception:  # noqa: BLE001  # whatever the reference raises, it does not take the value
        return False
    return True


def _policies() -> Iterator[str]:
    """The lines of Neutron's default rules: name, check, scopes."""
    rules = importlib.import_module("neutron.conf.policies").list_rules()
    for rule in sorted(rules, key=lambda rule: rule.name):
        scopes = ",".join(getattr(rule, "scope_types", None) or ())
        yield f"{rule.name}\t{rule.check_str}\t{scopes}"


def main() -> None:
    """Writes both tables into the folder."""
    warnings.simplefilter("ignore")
    place = Path(sys.argv[1])
    for path, lines in ((ATTRIBUTES, _attributes()), (POLICIES, _policies())):
        (place / path.name).write_text("".join(f"{each}\n" for each in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
