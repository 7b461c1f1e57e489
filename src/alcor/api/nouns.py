# SPDX-License-Identifier: Apache-2.0
"""Create, list, show, update and delete of any noun over HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlencode

from alcor.api.parts import Breath, Parts
from alcor.api.wire import REVISION, ClientGoneError, Reply, Request, encode, encode_into, json_reply
from alcor.base.errors import Invalid, Unavailable
from alcor.resource.declare import Action, Call, Many
from alcor.resource.engine import Called, Noun, unmatched
from alcor.resource.listing import Listing
from alcor.resource.query import Query, parameters_of, parse_call, parse_query
from alcor.resource.shape import PROJECT
from alcor.store.declare import Stored
from alcor.store.reader import Txn
from alcor.store.turn import Committed

R = TypeVar("R")

WHOLE_BYTES_MAX = 1_048_576  # a list up to this length is answered whole; a longer one in chunks
_REVISION_TAG = "revision_number="


async def create(parts: Parts, request: Request, noun: Noun[Any]) -> Reply:
    """POST of one or a bulk: 201."""
    body = await request.json(parts.world.settings)
    committed = await _turn(parts, request, noun.create(request.known(), body))
    return json_reply(201, committed.value, committed.position.revision)


async def update(parts: Parts, request: Request, noun: Noun[Any], id: str) -> Reply:
    """PUT: 200."""
    body = await request.json(parts.world.settings)
    turn = noun.update(request.known(), id, body, _if_match(request))
    committed = await _turn(parts, request, turn)
    return json_reply(200, committed.value, committed.position.revision)


async def delete(parts: Parts, request: Request, noun: Noun[Any], id: str) -> Reply:
    """DELETE: 204."""
    if await request.body(parts.world.settings):
        raise Invalid("Request body is not supported in DELETE.")
    committed = await _turn(parts, request, noun.delete(request.known(), id, _if_match(request)))
    return Reply(204, headers=[(REVISION, b"%d" % committed.position.revision)])


async def show(parts: Parts, request: Request, noun: Noun[Any], id: str) -> Reply:
    """GET of one: 200. Raises Invalid for a query that a list would refuse, too."""
    query = parse_query(noun.shape, request.query, page_max=-1)
    await _ready(parts, request, noun)
    tables = parts.store.tables
    answer = noun.show(request.known(), id, query.fields, tables)
    return json_reply(200, answer, tables.revision)


async def act(parts: Parts, request: Request, noun: Noun[Any], action: Action[Any], *ids: str) -> Reply:
    """What an action does, with its own status. `ids`: the object's, if it is of one, and its child's."""
    asked = request.known()
    named = ids[0] if ids else ""
    asked.child = ids[-1] if action.of == "child" else ""
    if action.method == "GET":
        await _ready(parts, request, noun)
        answer = noun.look(asked, action, named, parts.store.tables)(_query(request))
        return _acted(action, answer, parts.store.tables.revision)
    body = await request.json(parts.world.settings, is_optional=True)
    if not isinstance(body, dict):
        raise Invalid("Body contains invalid data")
    work = noun.perform(asked, action, (named, _if_match(request)), body)
    committed = await _turn(parts, request, work)
    return _acted(action, committed.value, committed.position.revision)


async def call(parts: Parts, request: Request, called: Called, *names: str) -> Reply:
    """What a URL that stands for no noun does, with its own status."""
    asked = request.known()
    if called.call.method == "GET":
        await parts.store.caught_up()
        tables = parts.store.tables
        answer = called.look(asked, names, _query(request), tables)
        if isinstance(answer, Many):
            text = _Text(answer.name)
            return await _begun(text, _entries(parts, request, answer, text), tables.revision)
        return _acted(called.call, answer, tables.revision)
    if _if_match(request) is not None:
        raise unmatched([part for part in called.call.path.split("/") if "{" not in part][-1])
    body = await request.json(parts.world.settings, is_optional=True)
    if not isinstance(body, dict):
        raise Invalid("Body contains invalid data")
    committed = await _turn(parts, request, called.perform(asked, names, body))
    return _acted(called.call, committed.value, committed.position.revision)


def _query(request: Request) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, value in parameters_of(request.query):
        found[name] = (*found.get(name, ()), value)
    return found


def _acted(action: Action[Any] | Call, answer: object, revision: int) -> Reply:
    if action.status == 204:
        return Reply(204, headers=[(REVISION, b"%d" % revision)])
    return json_reply(action.status, answer, revision)


async def find(parts: Parts, request: Request, noun: Noun[Any]) -> Reply:
    """GET of a collection: 200, whole if it is short, else in chunks."""
    settings = parts.world.settings
    query = parse_query(noun.shape, request.query, settings.page_max)
    projects = query.filters.get(PROJECT, ())
    request.known().listed = projects[0] if len(projects) == 1 else ""
    await _ready(parts, request, noun)
    tables = parts.store.tables
    found = noun.find(request.known(), query, tables)
    text = _Text(noun.resource.plural)
    steps = _bounded(parts, request, found, _list(parts, request, (noun, found), text))
    return await _begun(text, steps, tables.revision)


class _Text:
    """The JSON of a list as it grows: what is added is encoded where it stays."""

    def __init__(self, name: str) -> None:
        self.length = 0  # of what is not taken yet
        self._name = name
        self._text = bytearray(b'{"%s":[' % name.encode())
        self._is_empty = True

    def add(self, entries: Sequence[object]) -> None:
        """Adds entries, at least one."""
        text = self._text
        start = (
            len(text) - self._is_empty
        )  # over the bracket that is there, or as the comma before what follows
        encode_into(entries, text, start)
        if not self._is_empty:
            text[start : start + 1] = b","
        del text[-1:]
        self._is_empty = False
        self.length = len(text)

    def close(self, links: Sequence[Mapping[str, str]]) -> None:
        """Ends the list, with these links to others."""
        self._text += b'],"%s_links":%s}' % (self._name.encode(), encode(links)) if links else b"]}"
        self.length = len(self._text)

    def taken(self) -> bytearray:
        """What has come since this was asked last."""
        text, self._text, self.length = self._text, bytearray(), 0
        return text


async def _begun(text: _Text, steps: AsyncGenerator[None, None], at: int) -> Reply:
    """The answer with this text, whole if it is short; each of the steps adds to it."""
    revision = (REVISION, b"%d" % at)
    async for _ in steps:
        if text.length > WHOLE_BYTES_MAX:
            return Reply(200, headers=[revision], chunks=_rest(text, steps))
    return Reply(200, text.taken(), headers=[revision])


async def _ready(parts: Parts, request: Request, noun: Noun[Any]) -> None:
    """Waits until reads are current, and writes what must be there before the caller may read."""
    await parts.store.caught_up()
    missing = noun.prepared(request.known(), parts.store.tables)
    if missing is not None:
        await _turn(parts, request, missing)


async def _turn(parts: Parts, request: Request, work: Callable[[Txn], R]) -> Committed[R]:
    """Runs `work` in a turn, unless the client or the time for it is gone before that."""
    is_gone = request.is_gone
    limit_s = parts.world.settings.request_timeout_s
    until = monotonic() + limit_s

    def turn(txn: Txn) -> R:
        if is_gone():
            raise ClientGoneError
        if monotonic() > until:
            raise Unavailable("The request waited too long for its turn. Nothing was changed.")
        return work(txn)

    return await parts.store.submit(turn, tenant=request.known().project_id, deadline_s=limit_s)


async def _bounded(
    parts: Parts, request: Request, found: Listing[Any], steps: AsyncGenerator[None, None]
) -> AsyncGenerator[None, None]:
    async with aclosing(steps):
        if not found.is_scan:
            async for _ in steps:
                yield
            return
        async with parts.scans.admitted(request.known().project_id):
            async for _ in steps:
                yield


async def _list(
    parts: Parts, request: Request, listed: tuple[Noun[Any], Listing[Any]], text: _Text
) -> AsyncGenerator[None, None]:
    """Writes a list, a slice at a time."""
    noun, found = listed
    asked, query, tables = request.known(), found.query, parts.store.tables
    page = _Page()
    breath = Breath(parts.world.settings.slice_ms_max / 1000)
    for stored in found.slices():
        if request.is_gone():
            raise ClientGoneError
        if stored:
            page.add(stored)
        step = noun.resource.answered_at_once or len(stored) or 1
        for start in range(0, len(stored), step):
            some = stored[start : start + step]
            text.add(noun.answers(asked, query.fields, tables, some))
            yield
            await breath.take()
        await breath.take()
    text.close(_links(request, query, page))
    yield


async def _entries(parts: Parts, request: Request, many: Many, text: _Text) -> AsyncGenerator[None, None]:
    """Writes what a call answers, a slice at a time."""
    query = parse_call(_query(request), parts.world.settings.page_max, many.filters, many.key)
    breath, page = Breath(parts.world.settings.slice_ms_max / 1000), _Page()
    async with parts.scans.admitted(request.known().project_id):
        for entry in _paged(many, query):
            if request.is_gone():
                raise ClientGoneError
            if entry is not None:
                page.note(str(entry[many.key]))
                fields = query.fields or entry
                text.add([{name: value for name, value in entry.items() if name in fields}])
                yield
            await breath.take()
    text.close(_links(request, query, page))
    yield


def _paged(many: Many, query: Query) -> Iterator[Mapping[str, object] | None]:
    """The entries of a page in the order that is asked for; None where there is none, or none yet."""
    is_descending = bool(query.sorts) and query.sorts[0][1]
    ids = many.ids[::-1] if is_descending else many.ids
    if query.limit is None:
        yield from map(many.entry, ids)
        return
    if query.marker is not None:
        if query.marker not in ids:
            return
        place = ids.index(query.marker)
        ids = ids[:place] if query.page_reverse else ids[place + 1 :]
    left, kept = query.limit, []
    for one in reversed(ids) if query.page_reverse else ids:
        entry = many.entry(one)
        left -= entry is not None
        kept.append(entry if query.page_reverse else None)
        yield None if query.page_reverse else entry
        if not left:
            break
    yield from reversed(kept)


@dataclass
class _Page:
    """What the links to other pages must know of this one."""

    count: int = 0
    first: str = ""
    last: str = ""

    def note(self, id: str) -> None:
        """Notes one that is listed."""
        self.count += 1
        self.first, self.last = self.first or id, id

    def add(self, stored: Sequence[Stored]) -> None:
        """Notes a slice that is listed."""
        self.count += len(stored)
        self.first = self.first or stored[0].id
        self.last = stored[-1].id


async def _rest(text: _Text, steps: AsyncGenerator[None, None]) -> AsyncGenerator[bytearray, None]:
    async with aclosing(steps):
        yield text.taken()
        async for _ in steps:
            yield text.taken()


def _links(request: Request, query: Query, page: _Page) -> list[dict[str, str]]:
    """Neutron's links to the pages beside this one."""
    links: list[dict[str, str]] = []
    if query.limit is None:
        return links
    url = f"{request.base_url()}{request.path}"
    kept = [(name, value) for name, value in query.parameters if name not in {"marker", "page_reverse"}]
    is_short = page.count < query.limit
    if not (is_short and not query.page_reverse):
        marked = [*kept, ("marker", page.last)] if page.count else kept
        links.append({"rel": "next", "href": f"{url}?{urlencode(marked)}"})
    if not (is_short and query.page_reverse):
        marked = [*kept, ("marker", page.first)] if page.count else kept
        links.append({"rel": "previous", "href": f"{url}?{urlencode([*marked, ('page_reverse', 'True')])}"})
    return links


def _if_match(request: Request) -> int | None:
    """The revision number that If-Match asks for. Raises Invalid for one that is none, and for several."""
    header = request.headers.get(b"if-match")
    if header is None:
        return None
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in header.decode("latin-1").split(",")]
    numbers = [tag.removeprefix(_REVISION_TAG) for tag in tags if tag.startswith(_REVISION_TAG)]
    if len(numbers) > 1:
        raise Invalid(
            "Bad if-match request: Multiple revision_number etags are not supported.", type="BadRequest"
        )
    if not numbers:
        return None
    if not (numbers[0].isascii() and numbers[0].isdigit() and len(numbers[0]) < 19):
        raise Invalid(
            "Bad if-match request: Revision number etag must be in the format of revision_number=<int>.",
            type="BadRequest",
        )
    return int(numbers[0])
