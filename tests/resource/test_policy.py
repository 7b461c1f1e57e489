# SPDX-License-Identifier: Apache-2.0
"""Rules mean what oslo.policy says they mean, for every caller and object; operators' files override them."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_policy import policy as oslo_policy

from alcor.features.policies import REST
from alcor.resource.context import Identity, Standing, identity
from alcor.resource.policy import BASE, Policy, PolicyError, rules_of, shared_rules

RULES = (*shared_rules(BASE), *REST.policies)
ROLES = ("admin", "manager", "member", "reader", "service", "advsvc", "data_plane_integrator", "other")
NOUNS = ("", "network", "ext_parent", "security_group")


class Thing:
    """An object, as a rule sees it."""

    def __init__(self, *, owners: dict[str, str] | None = None, **values: Any) -> None:
        self.owners = owners or {}
        self.values = values

    def owner(self, noun: str) -> str | None:
        return self.owners.get(noun)

    def value(self, collection: str, name: str) -> object:
        return self.values.get(name)


def member(project: str = "p1", *roles: str, **standing: Any) -> Identity:
    return identity(project, "user", roles or ("member", "reader"), Standing(**standing))


def allows(policy: Policy, rule: str, who: Identity, thing: Thing) -> bool:
    return policy.rights(who).allows(rule, who, thing)


PRODUCT = Policy(RULES)


@given(
    rule=st.sampled_from(sorted(PRODUCT.defaults)),
    roles=st.sets(st.sampled_from(ROLES)),
    service_roles=st.sets(st.sampled_from(("service", "admin"))),
    project=st.sampled_from(("p1", "p2")),
    owners=st.fixed_dictionaries({noun: st.sampled_from(("p1", "p2")) for noun in NOUNS}),
)
def test_a_verdict_is_that_of_oslo_policy(
    rule: str, roles: set[str], service_roles: set[str], project: str, owners: dict[str, str]
) -> None:
    who = identity(project, "user", roles, Standing(service_roles=frozenset(service_roles)))
    target = {f"{noun}:project_id" if noun else "project_id": owner for noun, owner in owners.items()}
    creds = {"project_id": project, "roles": sorted(roles), "service_roles": sorted(service_roles)}

    class Enforcer:  # all that a check reads of it
        rules = {
            name: oslo_policy.RuleDefault(name, one.check).check for name, one in PRODUCT.defaults.items()
        }

    expected = Enforcer.rules[rule](target, creds, Enforcer())
    assert allows(PRODUCT, rule, who, Thing(owners=owners)) == expected


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        ("get_network", {"shared": True}, True),
        ("get_network", {"shared": False}, False),
        ("get_network", {"router:external": True}, True),
        ("create_port:device_owner", {"device_owner": "network:dhcp"}, False),
        ("create_port:device_owner", {"device_owner": "compute:az"}, True),
        ("create_rbac_policy:target_project", {"target_project": "*"}, False),
        ("create_rbac_policy:target_project", {"target_project": "p2"}, True),
    ],
)
def test_a_rule_compares_attributes(rule: str, values: dict[str, Any], expected: bool) -> None:
    assert allows(PRODUCT, rule, member(), Thing(owners={"": "p9", "network": "p9"}, **values)) is expected


def test_a_token_of_another_scope_is_out_and_told_so() -> None:
    system = identity("", "user", ["admin"], Standing(system_scope="all"))
    rights = PRODUCT.rights(system)
    assert rights.verdict("create_network") is False
    refusal = rights.refusal("create_network")
    assert (refusal.status, refusal.type) == (403, "InvalidScope")
    assert "requires a scope of ['project'], request was made with system scope" in refusal.message
    domain = identity("", "user", ["admin"], Standing(domain_id="d"))
    assert "made with domain scope" in PRODUCT.rights(domain).refusal("create_network").message
    assert "made with unscoped scope" in PRODUCT.rights(identity("", "u", [])).refusal("get_agent").message


def test_nobody_owns_what_belongs_to_nobody() -> None:
    policy = Policy(shared_rules({**BASE, "see": "project_id:%(project_id)s"}))
    assert not allows(policy, "see", identity("", "user", ["member"]), Thing(owners={"": ""}))


def test_a_refusal_names_the_rule_and_that_of_the_attribute() -> None:
    rights = PRODUCT.rights(member())
    assert rights.refusal("create_network").message == "rule:create_network is disallowed by policy"
    assert rights.refusal("create_network", "create_network:shared").message == (
        "(rule:create_network and rule:create_network:shared) is disallowed by policy"
    )


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("user_id:%(creator)s", True),
        ("user_id:user", True),
        ("user_id:other", False),
        ("project_id:p1", True),
        ("'red':%(colour)s", True),
        ("'blue':%(colour)s", False),
        ("True:%(absent)s", False),
        ("role:%(needed)s", True),
        ("system_scope:all", False),
        ("user_domain_id:default", True),
        ("not role:member", False),
        ("is_admin:False", True),
        ("@", True),
        ("rule:unheard_of", False),  # is `default`: admin or owner
        ([["role:nobody"], ["role:member", "project_id:p1"]], None),
    ],
)
def test_an_operator_may_ask_what_oslo_policy_can_ask(check: Any, expected: bool | None) -> None:
    if expected is None:
        with pytest.raises(PolicyError):
            Policy(shared_rules({**BASE, "see": check}))
        return
    policy = Policy(shared_rules({**BASE, "see": check}))
    who = member(user_domain_id="default")
    assert allows(policy, "see", who, Thing(creator="user", colour="red", needed="member")) is expected


def test_rules_of_a_noun_are_verbs_attributes_and_actions() -> None:
    rules = rules_of("trunk", {"role:a": "create create:tags add_subports", "role:b": "get"})
    assert [(rule.name, rule.check) for rule in rules] == [
        ("create_trunk", "role:a"),
        ("create_trunk:tags", "role:a"),
        ("add_subports", "role:a"),
        ("get_trunk", "role:b"),
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.yaml"


def test_a_file_overrides_rules_and_adds_some(file: Path) -> None:
    file.write_text(
        '"create_network": "role:network_admin"\n'
        '"create_network:name": "role:namer"\n'
        '"context_is_admin": "role:cloud_admin"\n'
        '"get_networks_tags": "!"\n'
    )
    policy = Policy(RULES)
    policy.use(file)
    assert policy.rights(member("p1", "network_admin")).verdict("create_network") is True
    assert policy.rights(member("p1", "admin")).verdict("create_network") is False
    assert policy.rights(member("p1", "member")).verdict("create_network:name") is False
    assert policy.rights(member("p1", "cloud_admin")).is_admin
    assert not policy.rights(member("p1", "admin")).is_admin
    assert policy.rights(member("p1", "cloud_admin")).verdict("get_network:tags") is False


def test_a_changed_file_is_read_again_and_a_wrong_one_is_not_taken(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('"create_network": "role:one"\n')
    policy = Policy(RULES)
    policy.use(file)
    one, two = member("p1", "one"), member("p1", "two")
    assert policy.rights(one).verdict("create_network") is True

    file.write_text('"create_network": "role:two"\n')
    os.utime(file, ns=(1, 1))
    policy.refresh(now_s=100.0)
    assert policy.rights(one).verdict("create_network") is False
    assert policy.rights(two).verdict("create_network") is True

    file.write_text('"create_network": "role:three and"\n')
    os.utime(file, ns=(2, 2))
    policy.refresh(now_s=100.5)  # not looked at yet
    policy.refresh(now_s=102.0)
    assert policy.rights(two).verdict("create_network") is True
    file.unlink()
    policy.refresh(now_s=104.0)
    assert policy.rights(two).verdict("create_network") is True


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('"a": "role:x or"', "cannot be understood"),
        ('"a": "role:x or nonsense"', "cannot be understood"),
        ('"a": "http://decide.test/%(id)s"', "asks another server"),
        ('"a": "rule:b"\n"b": "not rule:a"', "leads back to itself"),
        ('"a": "field:networks:shared"', "compares no field"),
        ('"a": "field:port:device_owner=~("', "pattern"),
        ('"a": "user_id:%(owner)d"', "names no attribute"),
        ('"a": "project_id:%(project_id)s%"', "names no attribute"),
        ('"a": 3', "not a text"),
        ("- a\n- b", "policy.yaml"),
        ('"a": "unclosed', "policy.yaml"),
    ],
)
def test_a_file_that_is_wrong_says_how(file: Path, text: str, wrong: str) -> None:
    file.write_text(text)
    with pytest.raises(PolicyError, match=wrong):
        Policy(RULES).use(file)


def test_rules_of_a_file_that_are_not_here_are_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(
        '"create_netwrok": "role:x"\n"create_router": "role:x"\n'
        '"network_admin": "role:n"\n"create_network": "rule:network_admin or rule:nobodys"\n'
        '"create_network:name": "role:x"\n'
    )
    policy = Policy(RULES)
    policy.use(file)
    assert policy.unknown() == ["create_netwrok", "create_router", "rule:nobodys"]
    assert "create_netwrok, create_router, rule:nobodys" in capsys.readouterr().err


def test_an_empty_file_changes_nothing(file: Path) -> None:
    file.write_text("# nothing\n")
    policy = Policy(RULES)
    policy.use(file)
    assert policy.rights(member()).scope == "project"


def test_kinds_of_callers_that_stay_worked_out_are_bounded() -> None:
    policy = Policy(RULES)
    first = policy.rights(member("p1", "r0"))
    assert policy.rights(member("p2", "r0")) is first, "a project is no kind of caller"
    for number in range(1_100):
        policy.rights(member("p1", f"r{number}"))
    assert policy.rights(member("p1", "r0")) is not first
