# SPDX-License-Identifier: Apache-2.0
"""A small made-up product for engine tests: lamps on racks in rooms, with tags that may lead round in circles."""

from collections.abc import Iterator
from random import Random

from alcor.dataplane.rows import Row
from alcor.goal.declare import Derivation, GoalFeature, Need, Placed, View, host_scope
from alcor.store.declare import Schema, Stored, Table


class Rack(Stored, frozen=True, kw_only=True):
    """Where lamps hang; the hosts of this world."""

    address: str


class Room(Stored, frozen=True, kw_only=True):
    """What lamps shine on."""

    colour: str


class Lamp(Stored, frozen=True, kw_only=True):
    """Hangs on a rack, or on none."""

    rack: str
    room: str
    tag: str = ""


class Link(Stored, frozen=True, kw_only=True):
    """Whoever knows the tag must know the other."""

    tag: str
    other: str


class Glow(Stored, frozen=True, kw_only=True):
    """What was seen of a lamp."""

    watts: int


RACK: Table[Rack] = Table("rack", Rack)
ROOM: Table[Room] = Table("room", Room)
LAMP: Table[Lamp] = Table("lamp", Lamp)
LINK: Table[Link] = Table("link", Link)
GLOW: Table[Glow] = Table("glow", Glow, observed=True)
SCHEMA = Schema((RACK, ROOM, LAMP, LINK, GLOW))


class LampRow(Row, tag="lamp", frozen=True, kw_only=True):
    """In `host:RACK`."""

    room: str
    tag: str = ""


class BeamRow(Row, tag="beam", frozen=True, kw_only=True):
    """In `beams:ROOM` under the lamp's id."""

    address: str


class PresenceRow(Row, tag="presence", frozen=True, kw_only=True):
    """In `racks:ROOM` under the rack's id: one row behind many lamps."""

    address: str


class RoomRow(Row, tag="room", frozen=True, kw_only=True):
    """In `room:ROOM`."""

    colour: str


class LinkRow(Row, tag="link", frozen=True, kw_only=True):
    """In `tag:TAG`."""

    other: str


KINDS: tuple[type[Row], ...] = (LampRow, BeamRow, PresenceRow, RoomRow, LinkRow)


def lamp_rows(view: View, lamp: Lamp) -> Iterator[Placed]:
    """The lamp on its rack, and where it shines from."""
    if not lamp.rack:
        return
    yield Placed(host_scope(lamp.rack), lamp.id, LampRow(room=lamp.room, tag=lamp.tag))
    rack = view.peek(RACK, lamp.rack)
    if rack is not None:
        yield Placed(f"beams:{lamp.room}", lamp.id, BeamRow(address=rack.address))
        yield Placed(f"racks:{lamp.room}", lamp.rack, PresenceRow(address=rack.address))


def room_rows(view: View, room: Room) -> Iterator[Placed]:
    """The room."""
    yield Placed(f"room:{room.id}", "room", RoomRow(colour=room.colour))


def link_rows(view: View, link: Link) -> Iterator[Placed]:
    """The link, under its tag."""
    yield Placed(f"tag:{link.tag}", link.id, LinkRow(other=link.other))


def scopes_of_lamp(row: LampRow) -> Iterator[str]:
    """What a rack must know of a lamp's surroundings."""
    yield from (f"room:{row.room}", f"beams:{row.room}", f"racks:{row.room}")
    if row.tag:
        yield f"tag:{row.tag}"


def scopes_of_link(row: LinkRow) -> tuple[str, ...]:
    """The other tag."""
    return (f"tag:{row.other}",)


GOAL = (
    GoalFeature(name="room", derivations=(Derivation(ROOM, room_rows),)),
    GoalFeature(
        name="lamp",
        derivations=(Derivation(LAMP, lamp_rows), Derivation(LINK, link_rows)),
        needs=(Need(LampRow, scopes_of_lamp), Need(LinkRow, scopes_of_link)),
    ),
)

Write = tuple[Table, str, Stored | None]  # table, id, new


def random_write(random: Random, *, size: int = 4) -> Write:
    """A write among a few racks, rooms, tags and lamps: they collide, come back and are often not there."""
    number = random.randrange(size)
    match random.choice(("rack", "room", "lamp", "lamp", "lamp", "link", "glow")):
        case "rack":
            new = Rack(id=f"r{number}", address=f"10.0.0.{random.randrange(9)}")
            return RACK, new.id, new if random.random() < 0.8 else None
        case "room":
            room = Room(id=f"o{number}", colour=random.choice(("red", "blue")))
            return ROOM, room.id, room if random.random() < 0.8 else None
        case "link":
            link = Link(id=f"k{number}", tag=f"t{random.randrange(size)}", other=f"t{random.randrange(size)}")
            return LINK, link.id, link if random.random() < 0.6 else None
        case "glow":
            return GLOW, f"l{number}", Glow(id=f"l{number}", watts=random.randrange(100))
    lamp = Lamp(
        id=f"l{random.randrange(3 * size)}",
        rack=random.choice(("", *(f"r{place}" for place in range(size)))),
        room=f"o{random.randrange(size)}",
        tag=random.choice(("", *(f"t{place}" for place in range(size)))),
    )
    return LAMP, lamp.id, lamp if random.random() < 0.7 else None
