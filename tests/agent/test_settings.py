# SPDX-License-Identifier: Apache-2.0
"""What rows ask of interfaces beside flows."""

from alcor.agent.settings import Settings
from alcor.dataplane.rows import HostFeature, Interface, Row, Setting


class Wish(Row, tag="wish", frozen=True, kw_only=True):
    """An interface and its colour."""

    port: str
    colour: str


FEATURE = HostFeature(
    name="wishes",
    rows=(Wish,),
    settings=(Setting(Wish, ("colour",), lambda row: row.port, lambda row: {"colour": row.colour}),),
)


def tap(*other_config: tuple[str, str]) -> Interface:
    return Interface("a", "tap", 5, other_config=other_config)


def test_interface_lacks_what_its_rows_ask_for_and_it_has_not() -> None:
    settings = Settings([FEATURE])
    assert settings.changed(["w/a", "other"], {"w/a": Wish(port="a", colour="red")}) == {"a"}
    assert settings.lacking(tap(("size", "9")), is_whole=False) == {"colour": "red"}
    assert settings.lacking(tap(("colour", "blue")), is_whole=True) == {"colour": "red"}
    assert settings.lacking(tap(("colour", "red"), ("size", "9")), is_whole=True) == {}


def test_what_no_row_asks_for_is_taken_away_once_all_rows_are_known() -> None:
    settings = Settings([FEATURE])
    left = tap(("colour", "red"), ("size", "9"))
    assert settings.lacking(left, is_whole=False) == {}
    assert settings.lacking(left, is_whole=True) == {"colour": ""}
    settings.changed(["w"], {"w": Wish(port="a", colour="red")})
    assert settings.lacking(left, is_whole=True) == {}
    assert settings.changed(["w"], {"w": Wish(port="b", colour="red")}) == {"a", "b"}
    assert settings.lacking(left, is_whole=True) == {"colour": ""}
    assert settings.changed(["w"], {}) == {"b"}
