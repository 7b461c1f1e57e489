# SPDX-License-Identifier: Apache-2.0
"""Every setting of Alcor, declared once as a typed field with default, unit and meaning; read from file, environment, flags.

A setting `bulk_max` is `bulk_max` in the TOML file, `ALCOR_BULK_MAX` in the environment and `--bulk-max` as a flag;
the later of these wins. `docs/settings.md` is generated from this table (`make docs`).
"""

import difflib
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NewType, get_args, get_type_hints

import msgspec

from alcor.base.address import Address, is_local, parse_address, socket_path
from alcor.base.net import Ip, Mac, ip_version, parse_ip, parse_mac

Ranges = NewType("Ranges", tuple[tuple[int, int], ...])  # inclusive bounds; as text `1:4095,10000:20000`
Names = NewType("Names", tuple[str, ...])  # as text `one,two`
Pairs = NewType("Pairs", tuple[tuple[str, str], ...])  # no name and no value twice; as text `one:a,two:b`
# (physical network, first, last), both included; as text `one:100:199,two`, where two gives all its numbers
VlanRanges = NewType("VlanRanges", tuple[tuple[str, int, int], ...])
VLAN_MAX = 4_094
ALL_VLANS = (1, VLAN_MAX)
# (service type, name, driver, "default" or empty); as text `TYPE:name:driver` and `TYPE:name:driver:default`
Providers = NewType("Providers", tuple[tuple[str, str, str, str], ...])

ENVIRONMENT_PREFIX = "ALCOR_"
FILE_VARIABLE = "ALCOR_CONFIG"  # names the settings file, where no flag does
FILE_DEFAULT = Path("/etc/alcor/alcor.toml")  # read if it exists


class SettingError(ValueError):
    """A setting is unknown or has a value that it cannot have; the message names it, its source and the way out."""


@dataclass(frozen=True)
class S:
    """What is declared of a setting beside its name, type and default."""

    unit: str  # what the value is or counts: "ms", "bytes", "host:port"
    meaning: str  # one line
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """One declared setting, as documentation and flags see it."""

    name: str
    kind: Any  # the field's type
    default: Any
    unit: str
    meaning: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]

    @property
    def flag(self) -> str:
        """The command-line flag: `--bulk-max`."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable: `ALCOR_BULK_MAX`."""
        return ENVIRONMENT_PREFIX + self.name.upper()


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The product's settings. Made by `load`, or directly in tests; never changed."""

    # fmt: off
    # Control plane: where it listens, where it remembers
    listen: Annotated[Address, S("host:port", "Where the REST API listens.")] = Address("127.0.0.1:9696")
    auth: Annotated[str, S("name", "Who is asked who a caller is.", choices=("none", "keystone"))] = "none"
    insecure_listen: Annotated[bool, S("", "Let auth `none` listen on an address other than loopback.")] = False
    api_cert: Annotated[Path | None, S("file", "Certificate of the REST API (PEM, with its chain); with it the API speaks TLS only.")] = None
    api_key: Annotated[Path | None, S("file", "Private key of the REST API (PEM).")] = None
    state: Annotated[Path, S("folder", "Where the log lies; empty: /var/lib/alcor as root, else ~/.local/state/alcor.")] = Path()
    history_s: Annotated[int, S("s", "How long the log keeps history behind current objects.", low=0)] = 86_400

    policy_file: Annotated[Path | None, S("file", "Overrides policy rules, in oslo.policy's YAML; read again when it changes.")] = None

    # Keystone, with auth `keystone`
    keystone_url: Annotated[str, S("URL", "Where Keystone is asked about tokens.")] = ""
    keystone_public_url: Annotated[str, S("URL", "Where a caller without token is sent for one; empty: `keystone_url`.")] = ""
    keystone_user: Annotated[str, S("name", "User as which Keystone is asked.")] = "alcor"
    keystone_user_domain: Annotated[str, S("name", "Domain of that user.")] = "Default"
    keystone_password: Annotated[str, S("text", "Its password; on the command line everybody on the machine would read it.")] = ""
    keystone_password_file: Annotated[Path | None, S("file", "Holds the password instead.")] = None
    keystone_project: Annotated[str, S("name", "Project for which that user asks.")] = "service"
    keystone_project_domain: Annotated[str, S("name", "Domain of that project.")] = "Default"
    keystone_ca_file: Annotated[Path | None, S("file", "Authority (PEM) of Keystone's certificate; empty: the machine's.")] = None
    keystone_timeout_s: Annotated[float, S("s", "How long Keystone may take to answer.", low=0.1)] = 5.0
    token_cache_s: Annotated[float, S("s", "How long a token is taken without asking again: so long a revoked one may be used.", low=0)] = 300.0
    token_cache_max: Annotated[int, S("tokens", "Tokens that are kept, about 1 KiB each.", low=0)] = 50_000

    # Log: one pen, batched by load
    turn_ms_max: Annotated[int, S("ms", "When a turn stops admitting further requests.", low=1, high=1_000)] = 20
    turn_queue_max: Annotated[int, S("requests", "Requests that may wait for the pen; beyond it 503.", low=1)] = 10_000
    pen_wait_s: Annotated[float, S("s", "How long a turn waits for another process's pen before 503.", low=0.1)] = 5.0
    follow_ms: Annotated[int, S("ms", "How often a process looks for other processes' records.", low=1)] = 20

    # REST API: what one caller may ask
    bulk_max: Annotated[int, S("objects", "Objects in one bulk request; beyond it 413.", low=1)] = 2_000
    body_bytes_max: Annotated[int, S("bytes", "Length of a request body; beyond it 413.", low=1_024)] = 8_388_608
    bodies_bytes_max: Annotated[int, S("bytes", "Request bodies that the process holds at once; beyond it 503.", low=1_024)] = 268_435_456
    page_max: Annotated[int, S("objects", "Objects in one page of a list; -1: no bound.", low=-1)] = -1
    slice_ms_max: Annotated[int, S("ms", "How long a scan, sort or answer holds the loop at once.", low=1)] = 2
    request_timeout_s: Annotated[float, S("s", "When a request that has not been answered is dropped.", low=0.1)] = 60.0
    connections_max: Annotated[int, S("connections", "Open connections to the REST API.", low=1)] = 16_384
    client_wait_s: Annotated[float, S("s", "How long a client may keep us waiting: for its head, its body, or to take some of an answer.", low=0.1)] = 20.0
    scans_max: Annotated[int, S("lists", "Lists of one project that look at whole tables at a time; others wait.", low=1)] = 4

    # Networks and ports: what is given when nothing is asked for
    vni_ranges: Annotated[Ranges, S("from:to,...", "VNIs given to networks.", low=1, high=16_777_215)] = Ranges(((1, 16_777_215),))
    project_network_types: Annotated[Names, S("types", "Types tried in turn for a network that asks for none: `vxlan`, `vlan`, `local`.", choices=("vxlan", "vlan", "local"))] = Names(("vxlan",))
    network_vlan_ranges: Annotated[VlanRanges, S("name:from:to,...", "Physical networks that carry VLANs, with the numbers given to networks; a name alone: all of them.")] = VlanRanges(())
    flat_networks: Annotated[Names, S("names", "Physical networks that may carry untagged networks; `*`: any, empty: none.")] = Names(("*",))
    base_mac: Annotated[Mac, S("MAC", "First three bytes (four, if the fourth is not 00) of generated MACs.")] = Mac("fa:16:3e:00:00:00")
    global_physnet_mtu: Annotated[int, S("bytes", "MTU of the network between hosts; networks get it less the tunnel's header.", low=1_280, high=65_535)] = 1_500
    host_routes_max: Annotated[int, S("routes", "Host routes of one subnet, with those to the subnets of its network's other segments.", low=0, high=10_000)] = 20
    address_pairs_max: Annotated[int, S("pairs", "Allowed address pairs of one port.", low=0, high=1_000)] = 10

    dns_domain: Annotated[str, S("name", "Domain of ports where neither they nor their network say one; another than `openstacklocal` must end whole names (`dns_name`).")] = "openstacklocal"

    service_providers: Annotated[Providers, S("type:name:driver,...", "Who serves what flavors offer; `:default` behind the one that serves where none is chosen.")] = Providers(())

    # Quotas per project; -1: no bound
    quota_network: Annotated[int, S("objects", "Networks of a project.", low=-1)] = 100
    quota_subnet: Annotated[int, S("objects", "Subnets of a project.", low=-1)] = 100
    quota_port: Annotated[int, S("objects", "Ports of a project.", low=-1)] = 500
    quota_rbac_policy: Annotated[int, S("objects", "RBAC policies of a project.", low=-1)] = 10
    quota_security_group: Annotated[int, S("objects", "Security groups of a project.", low=-1)] = 10
    quota_security_group_rule: Annotated[int, S("objects", "Security group rules of a project.", low=-1)] = 100

    # Push: towards hosts
    push_listen: Annotated[Address, S("host:port", "Where agents connect; `unix:PATH` for a socket.")] = Address("127.0.0.1:9697")
    push_tls_cert: Annotated[Path | None, S("file", "Certificate of push (PEM); without it push stays on loopback or a socket.")] = None
    push_tls_key: Annotated[Path | None, S("file", "Private key of push (PEM).")] = None
    push_tls_ca: Annotated[Path | None, S("file", "Authority (PEM) that signed the agents' certificates.")] = None
    host_queue_max: Annotated[int, S("rows", "Rows waiting for one host; beyond it the host gets a snapshot later.", low=1)] = 10_000
    host_queue_bytes_max: Annotated[int, S("bytes", "Bytes waiting for one host; beyond it the host gets a snapshot later.", low=1)] = 4_194_304
    chunk_bytes_max: Annotated[int, S("bytes", "Length of one message to a host.", low=1_024, high=3_145_728)] = 262_144
    status_batch_ms: Annotated[int, S("ms", "How long reports of hosts are gathered before they are logged, when they come in numbers.", low=0)] = 20
    status_batch_max: Annotated[int, S("reports", "Reports of hosts in one turn.", low=1)] = 1_000
    silence_grace_s: Annotated[float, S("s", "How long a host may be out of touch before it is called gone.", low=0)] = 15.0
    silence_share_max: Annotated[float, S("share", "Silent hosts beyond this share are our fault: none is called gone.", low=0, high=1)] = 0.1

    # Nova: who is told what becomes of its machines' ports
    nova_url: Annotated[str, S("URL", "Nova's endpoint, with its version; `catalogue`: as Keystone's catalogue says; empty: Nova is not told.")] = ""
    nova_region: Annotated[str, S("name", "Region of Nova's endpoint in the catalogue; empty: any.")] = ""
    nova_ca_file: Annotated[Path | None, S("file", "Authority (PEM) of Nova's certificate; empty: the machine's.")] = None
    nova_timeout_s: Annotated[float, S("s", "How long Nova, or Keystone for it, may take to answer.", low=0.1)] = 10.0
    notify_batch_max: Annotated[int, S("events", "Events in one request to Nova.", low=1)] = 100
    notify_retry_s: Annotated[float, S("s", "How long events that Nova does not take are tried again, before they are given up.", low=0)] = 3_600.0
    notify_failed_max: Annotated[int, S("events", "Events given up that are kept to be shown, the latest.", low=1)] = 1_000

    # Sessions between push and agents
    keepalive_s: Annotated[float, S("s", "How often a quiet session is probed.", low=1)] = 10.0
    keepalive_timeout_s: Annotated[float, S("s", "When an unanswered probe ends the session.", low=0.1)] = 5.0
    reconnect_ms_min: Annotated[int, S("ms", "Shortest wait of an agent before it connects again.", low=1)] = 100
    reconnect_ms_max: Annotated[int, S("ms", "Longest wait of an agent before it connects again.", low=1)] = 3_000

    # Agent: on each host
    host: Annotated[str, S("name", "The host's name, as `binding:host_id` says it; empty: the machine's.")] = ""
    push: Annotated[Address, S("host:port", "Where the agent finds push; `unix:PATH` for a socket.")] = Address("127.0.0.1:9697")
    agent_tls_cert: Annotated[Path | None, S("file", "Certificate of the agent (PEM); its common name is the host's.")] = None
    agent_tls_key: Annotated[Path | None, S("file", "Private key of the agent (PEM).")] = None
    agent_tls_ca: Annotated[Path | None, S("file", "Authority (PEM) that signed push's certificate.")] = None
    bridge: Annotated[str, S("name", "The integration bridge.")] = "br-int"
    bridge_mappings: Annotated[Pairs, S("name:bridge,...", "Physical networks that this host reaches, each by a bridge of its own.")] = Pairs(())
    availability_zone: Annotated[str, S("name", "The zone that the host belongs to; empty: none.")] = "nova"
    tunnel_ip: Annotated[Ip, S("IP", "The host's address in the network between hosts.")] = Ip("127.0.0.1")
    ovsdb: Annotated[str, S("remote", "The host's ovsdb-server.")] = "unix:/var/run/openvswitch/db.sock"
    openflow_dir: Annotated[Path, S("folder", "Where vswitchd keeps its `<bridge>.mgmt` sockets.")] = Path("/var/run/openvswitch")
    bundle_max: Annotated[int, S("flows", "Flow changes in one atomic bundle.", low=1, high=10_000)] = 1_000
    audit_s: Annotated[float, S("s", "How often the switch is compared with what it should have.", low=0.1)] = 60.0
    repair_ms: Annotated[int, S("ms", "How long after others changed flows the switch is compared; longer than audit_s: by audits only.", low=1)] = 100

    # Log lines and metrics
    metrics_listen: Annotated[Address | None, S("host:port", "Where a process without REST API answers `/metrics`; empty: nowhere.")] = None
    log_level: Annotated[str, S("level", "The least that is logged.", choices=("debug", "info", "warning", "error"))] = "info"
    log_format: Annotated[str, S("form", "How a line is written.", choices=("text", "json"))] = "text"
    # fmt: on

    def quota(self, name: str) -> int:
        """The default bound of the quota `name`; -1 is no bound, also for a noun without a setting."""
        return int(getattr(self, f"quota_{name}", -1))


def declared() -> Iterator[Setting]:
    """Every setting, in the order of the table."""
    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        kind, said = get_args(hints[field.name])
        yield Setting(
            field.name, kind, field.default, said.unit, said.meaning, said.low, said.high, said.choices
        )


def load(flags: Mapping[str, object], environ: Mapping[str, str], *, is_root: bool = False) -> Settings:
    """Settings from file, environment and flags (by setting name; None is not given); later wins.

    The file is flag `config`, else `ALCOR_CONFIG`, else `/etc/alcor/alcor.toml` if that exists.
    Raises SettingError.
    """
    by_name = {setting.name: setting for setting in declared()}
    given: dict[str, Any] = {}
    for source, name, value in _said(flags, environ):
        setting = by_name.get(name)
        if setting is None:
            raise SettingError(_unknown(source, name, by_name))
        try:
            given[name] = parse(setting, value)
        except ValueError as wrong:
            raise SettingError(f"Setting {name} ({source}): {wrong}") from None
    if given.get("state", Path()) == Path():
        given["state"] = usual_state(environ, is_root=is_root)
    settings = Settings(**given)
    _fit_together(settings)
    return settings


def parse(setting: Setting, value: object) -> Any:
    """The value of `setting` that a TOML value or a text means. Raises ValueError with a sentence."""
    parsed = _by_kind(setting.kind, value)
    for number in _numbers(parsed):
        if setting.low is not None and number < setting.low:
            raise ValueError(f"{number} is below the least, {setting.low:.12g}.")
        if setting.high is not None and number > setting.high:
            raise ValueError(f"{number} is above the most, {setting.high:.12g}.")
    for chosen in parsed if isinstance(parsed, tuple) else (parsed,):
        if setting.choices and chosen not in setting.choices:
            raise ValueError(f"'{chosen}' is not one of: {', '.join(setting.choices)}.")
    return parsed


def usual_state(environ: Mapping[str, str], *, is_root: bool) -> Path:
    """Where state lies when nobody says: the system's place for root, the user's (XDG) for others."""
    if is_root:
        return Path("/var/lib/alcor")
    if base := environ.get("XDG_STATE_HOME"):
        return Path(base) / "alcor"
    return Path(environ.get("HOME", "/")) / ".local/state/alcor"


def text_of(value: object) -> str:
    """A setting's value as it would be written in the environment."""
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(_part_text(part) for part in value)
        case None:
            return ""
        case Path():
            return "" if value == Path() else str(value)
        case _:
            return str(value)


def _part_text(part: str | tuple[str | int, ...]) -> str:
    if isinstance(part, str):
        return part
    return ":".join(map(str, part[:1] if part[1:] == ALL_VLANS else part))


def _said(flags: Mapping[str, object], environ: Mapping[str, str]) -> Iterator[tuple[str, str, object]]:
    """(source, setting, value), the one that wins last."""
    file = flags.get("config") or environ.get(FILE_VARIABLE)
    path = Path(str(file)) if file else FILE_DEFAULT
    if file or path.exists():
        for name, value in _file_content(path).items():
            yield str(path), name, value
    for variable, text in sorted(environ.items()):
        if variable.startswith(ENVIRONMENT_PREFIX) and variable != FILE_VARIABLE:
            yield variable, variable.removeprefix(ENVIRONMENT_PREFIX).lower(), text
    for name, given in flags.items():
        if name != "config" and given is not None:
            yield "--" + name.replace("_", "-"), name, given


def _file_content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as wrong:
        raise SettingError(f"Settings file {path} cannot be read: {wrong.strerror}.") from None
    except ValueError as wrong:  # no TOML, or no UTF-8
        raise SettingError(f"Settings file {path} is not TOML: {wrong}.") from None


def _unknown(source: str, name: str, by_name: Mapping[str, Setting]) -> str:
    near = difflib.get_close_matches(name, by_name, n=1)
    way_out = f"did you mean {near[0]}?" if near else "docs/settings.md lists them all."
    return f"There is no setting {name} ({source}); {way_out}"


def _by_kind(kind: Any, value: object) -> Any:
    """`value` as the setting's type. Raises ValueError."""
    if from_value := _FROM_VALUE.get(kind):
        return from_value(value)
    if not isinstance(value, str | Path):
        raise ValueError(f"{value!r} is not a text.")
    return _FROM_TEXT[kind](str(value))


def _bool(value: object) -> bool:
    match value:
        case bool():
            return value
        case str() if value.lower() in ("true", "yes", "on", "1"):
            return True
        case str() if value.lower() in ("false", "no", "off", "0"):
            return False
    raise ValueError(f"{value!r} is not a boolean: write true or false.")


def _number(kind: type[int] | type[float], value: object) -> int | float:
    """An int or a finite float, of a number or its text."""
    wanted = "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not {wanted}.")
    try:
        number = kind(value)
    except ValueError:
        raise ValueError(f"{value!r} is not {wanted}.") from None
    if (isinstance(value, float) and number != value) or not math.isfinite(number):
        raise ValueError(f"{value!r} is not {wanted}.")
    return number


def _int(value: object) -> int | float:
    return _number(int, value)


def _float(value: object) -> int | float:
    return _number(float, value)


def _ranges(value: object) -> Ranges:
    """Of `1:4095,10000:20000`, or of a TOML list of such texts. A single number is a range of one."""
    texts = value if isinstance(value, list) else str(value).split(",")
    ranges = []
    for text in texts:
        first, _, last = str(text).strip().partition(":")
        bounds = _number(int, first), _number(int, last or first)
        if bounds[0] > bounds[1]:
            raise ValueError(f"The range {text} ends before it begins.")
        ranges.append((int(bounds[0]), int(bounds[1])))
    return Ranges(tuple(ranges))


def _parts(value: object) -> list[str]:
    """The texts of a TOML list, or between the commas of a text."""
    texts = value if isinstance(value, list) else str(value).split(",")
    return [text for each in texts if (text := str(each).strip())]


def _names(value: object) -> Names:
    return Names(tuple(dict.fromkeys(_parts(value))))


def _pairs(value: object) -> Pairs:
    """Of `one:a,two:b`, or of a TOML list of such texts."""
    pairs = []
    for text in _parts(value):
        name, _, other = (part.strip() for part in text.partition(":"))
        if not name or not other:
            raise ValueError(f"'{text}' is not NAME:NAME.")
        pairs.append((name, other))
    for side in zip(*pairs, strict=True):
        if len(set(side)) < len(side):
            raise ValueError(f"One of {', '.join(side)} is named twice.")
    return Pairs(tuple(pairs))


def _vlan_ranges(value: object) -> VlanRanges:
    """Of `one:100:199,two`, or of a TOML list of such texts."""
    ranges = []
    for text in _parts(value):
        name, *bounds = (part.strip() for part in text.split(":"))
        if not name or len(bounds) not in (0, 2):
            raise ValueError(f"'{text}' is neither NAME nor NAME:FIRST:LAST.")
        first, last = (int(_number(int, bound)) for bound in bounds) if bounds else ALL_VLANS
        if not 1 <= first <= last <= VLAN_MAX:
            raise ValueError(f"'{text}' is no range within 1:{VLAN_MAX}.")
        ranges.append((name, first, last))
    return VlanRanges(tuple(ranges))


def _providers(value: object) -> Providers:
    """Of `TYPE:name:driver[:default]`, or of a TOML list of such texts; no driver twice, no name or default twice of a
    type.
    """
    found = []
    for text in _parts(value):
        kind, name, driver, last, *more = (*(part.strip() for part in text.split(":")), "", "", "")
        if not (kind and name and driver and last in {"", "default"}) or any(more):
            raise ValueError(f"'{text}' is neither TYPE:NAME:DRIVER nor TYPE:NAME:DRIVER:default.")
        found.append((kind, name.lower(), driver, last))
    alone = [(driver,) for _, _, driver, _ in found] + [(kind, name) for kind, name, _, _ in found]
    alone += [(kind, "a default") for kind, _, _, last in found if last]
    for one in alone:
        if alone.count(one) > 1:
            raise ValueError(f"{' '.join(one)} is named twice.")
    return Providers(tuple(found))


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _address_or_none(text: str) -> Address | None:
    return parse_address(text) if text else None


def _path_or_none(text: str) -> Path | None:
    return _path(text) if text else None


_FROM_VALUE: dict[Any, Callable[[object], Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    Ranges: _ranges,
    Names: _names,
    Providers: _providers,
    Pairs: _pairs,
    VlanRanges: _vlan_ranges,
}
_FROM_TEXT: dict[Any, Callable[[str], Any]] = {
    str: str,
    Path: _path,
    Path | None: _path_or_none,
    Address: parse_address,
    Address | None: _address_or_none,
    Mac: parse_mac,
    Ip: parse_ip,
}


def _numbers(parsed: object) -> Iterator[int | float]:
    """The numbers in a value, whose bounds are to be checked."""
    if isinstance(parsed, int | float):
        yield parsed
    elif isinstance(parsed, tuple):
        for part in parsed:
            yield from _numbers(part)


def _fit_together(settings: Settings) -> None:
    """Raises SettingError where two settings, each right, contradict each other."""
    if settings.reconnect_ms_min > settings.reconnect_ms_max:
        raise SettingError("Setting reconnect_ms_min is above reconnect_ms_max; raise the latter.")
    if ip_version(settings.tunnel_ip) != 4:
        raise SettingError(f"Setting tunnel_ip: tunnels lead over IPv4, and {settings.tunnel_ip} is not.")
    if not settings.bridge:
        raise SettingError("Setting bridge is empty: name the integration bridge, such as br-int.")
    if settings.auth == "none" and not is_local(settings.listen) and not settings.insecure_listen:
        raise SettingError(
            f"With auth none the API would let anybody in at {settings.listen};"
            " listen on loopback, or set insecure_listen."
        )
    if settings.auth == "keystone" and not settings.keystone_url:
        raise SettingError("Auth keystone needs keystone_url, such as https://keystone.example.org:5000.")
    if settings.nova_url == "catalogue" and not settings.keystone_url:
        raise SettingError("With nova_url catalogue Keystone is asked where Nova is: set keystone_url.")
    if (settings.api_cert is None) != (settings.api_key is None):
        raise SettingError("TLS of the REST API needs both api_cert and api_key.")
    if settings.metrics_listen and socket_path(settings.metrics_listen):
        raise SettingError(
            f"Setting metrics_listen needs HOST:PORT: nobody scrapes {settings.metrics_listen}."
        )
    for role in ("push", "agent"):
        names = [f"{role}_tls_{part}" for part in ("cert", "key", "ca")]
        unset = [name for name in names if getattr(settings, name) is None]
        if 0 < len(unset) < len(names):
            raise SettingError(f"Mutual TLS needs all of {', '.join(names)}; {unset[0]} is not set.")
    if not is_local(settings.push_listen) and settings.push_tls_cert is None:
        raise SettingError(
            f"Push would let anybody be a host at {settings.push_listen};"
            " listen on loopback or a socket, or set push_tls_cert, push_tls_key and push_tls_ca."
        )
