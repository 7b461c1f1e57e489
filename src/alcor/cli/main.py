# SPDX-License-Identifier: Apache-2.0
"""The verbs of `alcor`, each with the settings that it reads; what a verb does stands in its own module."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import uvloop

from alcor.base.config import Setting, SettingError, Settings, declared, load
from alcor.base.telemetry import configure_log

Verb = Callable[[argparse.Namespace, Settings], Coroutine[Any, Any, int]]

_LOG = ("log_level", "log_format")
_METRICS = ("metrics_listen",)  # of processes without REST API
_STORE = (
    "state",
    "history_s",
    "turn_ms_max",
    "turn_queue_max",
    "pen_wait_s",
    "follow_ms",
)
_API = (
    *("listen", "auth", "insecure_listen", "bulk_max", "body_bytes_max", "bodies_bytes_max"),
    *("page_max", "slice_ms_max", "scans_max", "request_timeout_s", "client_wait_s", "connections_max"),
    *(
        "policy_file",
        "api_cert",
        "api_key",
        "keystone_url",
        "keystone_public_url",
        "keystone_user",
        "keystone_user_domain",
    ),
    *("keystone_password_file", "keystone_project", "keystone_project_domain", "keystone_ca_file"),
    *("keystone_timeout_s", "token_cache_s", "token_cache_max"),
    *("vni_ranges", "base_mac", "global_physnet_mtu"),
    *("quota_network", "quota_subnet", "quota_port", "quota_security_group", "quota_security_group_rule"),
    *(
        "quota_rbac_policy",
        "address_pairs_max",
        "host_routes_max",
        "dns_domain",
        "service_providers",
        "network_vlan_ranges",
        "flat_networks",
        "project_network_types",
    ),
)
_SESSION = ("keepalive_s", "keepalive_timeout_s", "reconnect_ms_min", "reconnect_ms_max")
_PUSH = (
    *(
        "push_listen",
        "push_tls_cert",
        "push_tls_key",
        "push_tls_ca",
        "host_queue_max",
        "host_queue_bytes_max",
    ),
    *("chunk_bytes_max", "status_batch_ms", "status_batch_max", "silence_grace_s", "silence_share_max"),
    *("keepalive_s", "keepalive_timeout_s"),
)
_KEYSTONE = (
    *("keystone_url", "keystone_user", "keystone_user_domain", "keystone_password_file", "keystone_project"),
    *("keystone_project_domain", "keystone_ca_file"),
)
_NOTIFY = (
    *("nova_url", "nova_region", "nova_ca_file", "nova_timeout_s"),
    *("notify_batch_max", "notify_retry_s", "notify_failed_max"),
)
_AGENT_TLS = ("agent_tls_cert", "agent_tls_key", "agent_tls_ca")
_AGENT = (
    "host",
    "push",
    *_AGENT_TLS,
    "bridge",
    "bridge_mappings",
    "availability_zone",
    "tunnel_ip",
    "ovsdb",
    "openflow_dir",
    *("bundle_max", "audit_s", "repair_ms"),
    *_SESSION,
)


@dataclass(frozen=True)
class Command:
    """One verb: what it is for, which settings are its flags, and what else it takes."""

    name: str
    meaning: str
    settings: tuple[str, ...]
    run: Verb
    arguments: Callable[[argparse.ArgumentParser], None] = lambda parser: None


async def _all(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.cli import serve

    return await serve.run(settings, api=True, push=True)


async def _api(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.cli import serve

    return await serve.run(settings, api=True, push=False)


async def _push(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.cli import serve

    return await serve.run(settings, api=False, push=True)


async def _notify(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.cli import notify

    return await notify.run(settings, show=options.show)


def _notify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--show", action="store_true", help="say how far Nova was told, and what was given up"
    )


async def _agent(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.agent import main as agent
    from alcor.base.telemetry import Meters, metrics_served
    from alcor.features.host import HOST

    meters = Meters(with_process=True)
    with metrics_served(meters, settings.metrics_listen):
        await agent.run(settings, HOST, meters)
    return 0


async def _demo(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.cli import demo

    return await demo.run(keep=options.keep, fake=options.fake)


async def _show(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.cli import show

    return await show.run(options, settings)


async def _emulate(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.cli import emulate

    return await emulate.run(options.hosts, options.prefix, settings)


async def _pki(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.cli import pki

    return pki.run(options.directory, options.server, options.hosts)


async def _policy(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.cli import policy

    return await policy.run(options.sample, settings)


def _policy_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sample", action="store_true", help="print every rule, to be overridden in a file")


async def _db(options: argparse.Namespace, settings: Settings) -> int:
    from alcor.cli import db

    return await db.run(options.action, settings, finish=options.finish)


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="stay up at the end, and say how to play with it")
    parser.add_argument("--fake", action="store_true", help="use the built-in fake switch, as without root")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("hosts", "host", "port", "scope"))
    parser.add_argument(
        "name", nargs="?", help="the host, the port's id or name, or the scope, such as network:ID"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is no number of hosts")
    return int(text)


def _emulate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hosts", type=_count, default=100, help="how many hosts (100)")
    parser.add_argument("--prefix", default="emulated-", help="of their names")


def _pki_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "directory", help="where the files go; an authority that lies there already is used again"
    )
    parser.add_argument(
        "--server", default="localhost", help="the name or address by which agents reach push"
    )
    parser.add_argument("--hosts", nargs="*", default=[], help="names of hosts that get a certificate")


def _db_arguments(parser: argparse.ArgumentParser) -> None:
    meaning = "check: load the log and say what is in it; upgrade: say its format"
    parser.add_argument("action", choices=("check", "upgrade"), help=meaning)
    parser.add_argument(
        "--finish", action="store_true", help="upgrade: raise the format, once no older version runs"
    )


COMMANDS = (
    Command(
        "all",
        "the control plane in one process: api and push on one log",
        (*_STORE, *_API, *_PUSH, *_NOTIFY, *_LOG),
        _all,
    ),
    Command("api", "the REST API alone, on a log that others share", (*_STORE, *_API, *_LOG), _api),
    Command(
        "push",
        "goal state to hosts alone, on a log that others share",
        (*_STORE, *_PUSH, *_METRICS, *_LOG),
        _push,
    ),
    Command(
        "notify",
        "tells Nova what becomes of its machines' ports, on a log that others share",
        (*_STORE, *_KEYSTONE, *_NOTIFY, *_METRICS, *_LOG),
        _notify,
        _notify_arguments,
    ),
    Command(
        "agent",
        "makes this host's Open vSwitch carry what was asked for",
        (*_AGENT, *_METRICS, *_LOG),
        _agent,
    ),
    Command("demo", "three hosts and their virtual machines on this machine", (), _demo, _demo_arguments),
    Command(
        "show",
        "what is wanted, what each host has applied, and the difference",
        ("push", *_AGENT_TLS, *_LOG),
        _show,
        _show_arguments,
    ),
    Command(
        "emulate",
        "many hosts that take goal state and have no switch",
        ("push", *_AGENT_TLS, *_SESSION, *_LOG),
        _emulate,
        _emulate_arguments,
    ),
    Command("pki", "an authority and certificates for a lab", (), _pki, _pki_arguments),
    Command(
        "policy",
        "checks the policy file, or prints a sample",
        ("policy_file", *_LOG),
        _policy,
        _policy_arguments,
    ),
    Command("db", "looks into the log", ("state", *_LOG), _db, _db_arguments),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; answers the exit status. A wrong setting is said in one sentence, with status 2."""
    options = _parser().parse_args(argv)
    command = next(command for command in COMMANDS if command.name == options.verb)
    flags = {name: getattr(options, name) for name in command.settings}
    try:
        settings = load(flags | {"config": options.config}, os.environ, is_root=os.geteuid() == 0)
    except SettingError as wrong:
        print(f"alcor: {wrong}", file=sys.stderr)
        return 2
    configure_log(settings.log_level, settings.log_format)
    try:
        status = uvloop.run(_until_signalled(command.run(options, settings)))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read what is printed has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


async def _until_signalled(work: Coroutine[Any, Any, int]) -> int:
    """SIGTERM and SIGINT end the verb in order, by cancelling it; the answer is then 0."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="alcor", description="A control plane for virtual private cloud networks."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    settings = {setting.name: setting for setting in declared()}
    for command in COMMANDS:
        verb = verbs.add_parser(command.name, help=command.meaning, description=command.meaning)
        verb.add_argument("--config", metavar="FILE", help="settings file (TOML)")
        command.arguments(verb)
        for name in dict.fromkeys(command.settings):
            _add_flag(verb, settings[name])
    return parser


def _add_flag(parser: argparse.ArgumentParser, setting: Setting) -> None:
    unit = f" [{setting.unit}]" if setting.unit else ""
    parser.add_argument(
        setting.flag, dest=setting.name, metavar="VALUE", help=f"{setting.meaning}{unit}".replace("%", "%%")
    )
