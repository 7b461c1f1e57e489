# SPDX-License-Identifier: Apache-2.0
"""Settings: where they come from, which wins, and what is said of a wrong one."""

from pathlib import Path

import msgspec
import pytest

from alcor.base.config import SettingError, Settings, declared, load, parse, text_of


def file_with(folder: Path, text: str) -> dict[str, object]:
    path = folder / "alcor.toml"
    path.write_text(text)
    return {"config": str(path)}


def test_defaults_stand_where_nothing_is_said() -> None:
    settings = load({}, {"HOME": "/home/ann"})
    assert settings.bulk_max == 2_000
    assert settings.listen == "127.0.0.1:9696"
    assert settings.state == Path("/home/ann/.local/state/alcor")


def test_the_environment_wins_over_the_file_and_a_flag_over_both(tmp_path: Path) -> None:
    said = file_with(tmp_path, 'bulk_max = 10\nturn_ms_max = 10\nlog_level = "debug"\n')
    settings = load({**said, "bulk_max": "30"}, {"ALCOR_BULK_MAX": "20", "ALCOR_TURN_MS_MAX": "20"})
    assert (settings.bulk_max, settings.turn_ms_max, settings.log_level) == (30, 20, "debug")


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    assert load({"bulk_max": None, "config": None}, {"ALCOR_BULK_MAX": "7"}).bulk_max == 7


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    file_with(tmp_path, "quota_port = -1")
    assert load({}, {"ALCOR_CONFIG": str(tmp_path / "alcor.toml")}).quota_port == -1


def test_other_variables_are_nobodys_business() -> None:
    assert load({}, {"ALCORN": "1", "PATH": "/bin"}) == load({}, {})


def test_state_of_root_lies_in_the_systems_place_and_that_of_users_in_theirs() -> None:
    assert load({}, {}, is_root=True).state == Path("/var/lib/alcor")
    assert load({}, {"XDG_STATE_HOME": "/s"}).state == Path("/s/alcor")
    assert load({"state": "/elsewhere"}, {}, is_root=True).state == Path("/elsewhere")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().bulk_max = 3  # type: ignore[misc]


def test_ranges_are_read_from_text_and_from_a_list(tmp_path: Path) -> None:
    assert load({"vni_ranges": "1:10, 20,30:40"}, {}).vni_ranges == ((1, 10), (20, 20), (30, 40))
    said = load(
        {"network_vlan_ranges": "one:5:9, two", "bridge_mappings": "one:br-one", "flat_networks": ""}, {}
    )
    assert said.network_vlan_ranges == (("one", 5, 9), ("two", 1, 4094))
    assert text_of(said.network_vlan_ranges) == "one:5:9,two"
    assert (said.bridge_mappings, said.flat_networks) == ((("one", "br-one"),), ())
    assert text_of(load({"project_network_types": "vlan,local"}, {}).project_network_types) == "vlan,local"
    said = file_with(tmp_path, 'vni_ranges = ["5:6", "9:9"]')
    assert load(said, {}).vni_ranges == ((5, 6), (9, 9))


def test_service_providers_are_read_with_their_default() -> None:
    said = load({"service_providers": "VPN:Swan:d:default,VPN:other:e,L3:swan:f"}, {}).service_providers
    assert said == (("VPN", "swan", "d", "default"), ("VPN", "other", "e", ""), ("L3", "swan", "f", ""))
    assert load({"service_providers": text_of(said)}, {}).service_providers == said


@pytest.mark.parametrize("text", ["true", "yes", "ON", "1"])
def test_a_boolean_is_read_from_words(text: str) -> None:
    assert load({"insecure_listen": text}, {}).insecure_listen
    assert not load({"insecure_listen": False}, {}).insecure_listen
    assert not load({"insecure_listen": "no"}, {}).insecure_listen


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("bulk_max", "many", "'many' is not a whole number"),
        ("bulk_max", 1.5, "1.5 is not a whole number"),
        ("bulk_max", True, "True is not a whole number"),
        ("bulk_max", 0, "0 is below the least, 1"),
        ("turn_ms_max", 9_999, "9999 is above the most, 1000"),
        ("pen_wait_s", "nan", "'nan' is not a number"),
        ("vni_ranges", "9:3", "The range 9:3 ends before it begins"),
        ("network_vlan_ranges", "one:5", "'one:5' is neither NAME nor NAME:FIRST:LAST"),
        ("network_vlan_ranges", "one:5:4095", "'one:5:4095' is no range within 1:4094"),
        ("bridge_mappings", "one", "'one' is not NAME:NAME"),
        ("service_providers", "VPN:swan", "'VPN:swan' is neither TYPE:NAME:DRIVER nor"),
        ("service_providers", "VPN:swan:d:best", "is neither TYPE:NAME:DRIVER nor"),
        ("service_providers", "VPN:swan:d:default:more", "is neither TYPE:NAME:DRIVER nor"),
        ("service_providers", "VPN:swan:d,VPN:other:d", "d is named twice"),
        ("service_providers", "VPN:swan:d,VPN:Swan:e", "VPN swan is named twice"),
        ("service_providers", "VPN:swan:d:default,VPN:other:e:default", "VPN a default is named twice"),
        ("bridge_mappings", "one:br-a,two:br-a", "is named twice"),
        ("project_network_types", "vxlan,gre", "'gre' is not one of"),
        ("vni_ranges", "0:3", "0 is below the least, 1"),
        ("vni_ranges", "1:x", "'x' is not a whole number"),
        ("base_mac", "fa:16", "'fa:16' is not a valid MAC address"),
        ("listen", "9696", "'9696' is not an address"),
        ("listen", 9696, "9696 is not a text"),
        ("log_level", "loud", "'loud' is not one of: debug, info, warning, error"),
        ("insecure_listen", "maybe", "'maybe' is not a boolean"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name_and_source(name: str, value: object, said: str) -> None:
    with pytest.raises(SettingError) as refused:
        load({name: value}, {})
    assert str(refused.value).startswith(f"Setting {name} (--{name.replace('_', '-')}): ")
    assert said in str(refused.value)


def test_an_unknown_setting_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"no setting bulk_maks \(ALCOR_BULK_MAKS\); did you mean bulk_max\?"
    ):
        load({}, {"ALCOR_BULK_MAKS": "1"})
    with pytest.raises(SettingError, match=r"no setting zzz \(.*alcor.toml\); docs/settings.md"):
        load(file_with(tmp_path, "zzz = 1"), {})


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"missing.toml cannot be read: No such file"):
        load({"config": str(tmp_path / "missing.toml")}, {})
    with pytest.raises(SettingError, match=r"alcor.toml is not TOML"):
        load(file_with(tmp_path, "= 1"), {})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"reconnect_ms_min": 50, "reconnect_ms_max": 40}, "reconnect_ms_min is above reconnect_ms_max"),
        ({"tunnel_ip": "fd00::1"}, "tunnel_ip: tunnels lead over IPv4, and fd00::1 is not"),
        ({"bridge": ""}, "bridge is empty: name the integration bridge"),
        ({"listen": "0.0.0.0:9696"}, "With auth none the API would let anybody in at 0.0.0.0:9696"),
        ({"metrics_listen": "unix:/m"}, "metrics_listen needs HOST:PORT: nobody scrapes unix:/m"),
        ({"agent_tls_cert": "/c"}, "Mutual TLS needs all of .*; agent_tls_key is not set"),
        ({"push_listen": "10.0.0.1:9697"}, "Push would let anybody be a host at 10.0.0.1:9697"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(flags: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        load(flags, {})


def test_an_operator_may_insist() -> None:
    tls = {"push_tls_cert": "/c", "push_tls_key": "/k", "push_tls_ca": "/a"}
    settings = load({"listen": "0.0.0.0:1", "insecure_listen": True, "push_listen": "0.0.0.0:2", **tls}, {})
    assert (settings.listen, settings.push_listen) == ("0.0.0.0:1", "0.0.0.0:2")


def test_every_default_is_a_value_that_can_be_said_in_the_environment() -> None:
    for setting in declared():
        assert parse(setting, text_of(setting.default)) == setting.default, setting.name


def test_every_setting_has_one_name_in_three_spellings() -> None:
    names = [setting.name for setting in declared()]
    assert names == [field.name for field in msgspec.structs.fields(Settings)]
    bulk = next(setting for setting in declared() if setting.name == "bulk_max")
    assert (bulk.flag, bulk.variable) == ("--bulk-max", "ALCOR_BULK_MAX")


def test_a_quota_without_a_setting_has_no_bound() -> None:
    assert Settings().quota("port") == 500
    assert Settings().quota("unheard_of") == -1
