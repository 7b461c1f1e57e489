# SPDX-License-Identifier: Apache-2.0
"""One field of a stored struct as the API has it, worked out from its annotation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from alcor.resource import parse
from alcor.resource.declare import Api
from alcor.store.declare import Stored

_ID = Api(post=False)


@dataclass(frozen=True)
class Attribute:
    """One field of a noun as the API has it."""

    field: str  # of the struct
    name: str  # on the wire
    api: Api
    kind: Any  # the field's type, without None
    is_optional: bool
    is_required: bool
    default: Any  # msgspec.UNSET if there is none
    parse: parse.Parser  # JSON value -> field value, null included


def attributes_of(kind: type[Stored]) -> Iterable[Attribute]:
    """The fields that are of the API, `id` first."""
    hints = get_type_hints(kind, include_extras=True)
    for field in sorted(msgspec.structs.fields(kind), key=lambda field: field.name != "id"):
        api = _ID if field.name == "id" else _api_of(hints[field.name])
        if api is None:
            continue
        hint = hints[field.name]
        plain, is_optional = parse.split_optional(
            get_args(hint)[0] if get_origin(hint) is Annotated else hint
        )
        default = _default_of(field)
        yield Attribute(
            field=field.name,
            name=api.name or field.name,
            api=api,
            kind=plain,
            is_optional=is_optional,
            is_required=api.required,
            default=default,
            parse=_parser_of(api, plain, is_optional, default),
        )


def _api_of(hint: Any) -> Api | None:
    for note in getattr(hint, "__metadata__", ()):
        if isinstance(note, Api):
            return note
    return None


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return msgspec.UNSET


def _parser_of(api: Api, kind: Any, is_optional: bool, default: Any) -> parse.Parser:
    """The parser of a field. One of the feature's own is given null too, unless null is a value of the type."""
    read = api.parse or parse.by_kind(kind)
    if api.choices:
        read = parse.chosen(read, api.choices)
    if api.minimum is not None or api.maximum is not None:
        read = parse.bounded(read, api.minimum, api.maximum)
    if api.max_length is not None:
        read = parse.short(read, api.max_length)
    if is_optional:
        return parse.or_none(read, None)
    if api.nullable and api.parse is None:
        return parse.or_none(read, default)
    return read
