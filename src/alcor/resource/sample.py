# SPDX-License-Identifier: Apache-2.0
"""The rules of policy as a file in which operators override them, each with what it decides, from the declarations."""

from collections.abc import Iterator, Sequence
from typing import Any

from alcor.resource.engine import Engine, Noun

_VERBS = {
    "create": ("Create {0}", "Specify `{1}` when creating {0}", ("POST  /{0}",)),
    "get": ("Get {0}", "Get `{1}` of {0}", ("GET  /{0}", "GET  /{0}/{{{1}}}")),
    "update": ("Change {0}", "Change `{1}` of {0}", ("PUT  /{0}/{{{1}}}",)),
    "delete": ("Delete {0}", "Delete `{1}` of {0}", ("DELETE  /{0}/{{{1}}}",)),
}
_Decided = dict[str, list[str]]  # rule -> a sentence, and the requests that it decides


def sample(engine: Engine) -> Iterator[str]:
    """The lines of the file: all rules, commented out, in the form of oslo.policy's generator."""
    decided: _Decided = {}
    for noun in engine.nouns.values():
        _note(noun, decided)
    for call in (called.call for called in engine.calls if called.call.rule):
        decided.setdefault(call.rule, [call.doc]).append(f"{call.method}  /{call.path}")
    for rule in sorted(engine.policy.defaults.values(), key=lambda rule: bool(rule.scopes)):
        yield from (f"# {line}" for line in _said(rule.name, decided))
        if rule.scopes:
            yield f"# Intended scope(s): {', '.join(rule.scopes)}"
        yield from (f'#"{rule.name}": "{rule.check}"', "")


def _note(noun: Noun[Any], decided: _Decided) -> None:
    what = noun.resource.name.replace("_", " ")
    for verb, (text, _, paths) in _VERBS.items():
        requests = (path.format(noun.path, noun.called) for path in paths)
        decided[noun.gate.rule(verb)] = [text.format(_one(what)), *requests]
    for action in noun.actions:
        rule = action.rule or action.name
        said = _said(rule, decided) or [
            action.doc or f"{rule.replace('_', ' ').capitalize()}, of {_one(what)}."
        ]
        decided.setdefault(rule, [said[0]]).append(f"{action.method}  /{noun.path_of(action)}")


def _said(name: str, decided: _Decided) -> Sequence[str]:
    """What the rule decides; nothing of one that others name."""
    base, _, attribute = name.partition(":")
    if name in decided or base not in decided:
        return decided.get(name, ())
    verb = base.partition("_")[0]
    what, *requests = decided[base]
    return (_VERBS[verb][1].format(what.partition(" ")[2], attribute), *requests)


def _one(what: str) -> str:
    return f"{'an' if what[0] in 'aeiou' else 'a'} {what}"
