# SPDX-License-Identifier: Apache-2.0
"""What may be done with agents, and how a host's hello registers it."""

import uuid
from collections.abc import Iterator

import msgspec

from alcor.base.net import parse_ip
from alcor.features.agent.model import AGENT, AGENT_STATE, BY_HOST, HOST, Agent, AgentState, Host
from alcor.goal.declare import HelloFacts, Life
from alcor.resource.declare import Computed, Context, Extension, Resource, RestFeature
from alcor.store.declare import Change
from alcor.store.reader import Reader, Txn

_AGENT_IDS = uuid.UUID(
    "5d4f3a52-2f0c-4f0e-9d6e-6a1f6f2f7a10"
)  # namespace: a host's agent keeps its id for ever


def on_update(txn: Txn, ctx: Context, old: Agent, new: Agent) -> Agent:
    """Takes the new `admin_state_up` and description as they are."""
    return new


def on_delete(txn: Txn, ctx: Context, old: Agent) -> None:
    """Forgets what was seen of the agent. The push that a living one is with registers it again."""
    if txn.peek(AGENT_STATE, old.host):
        txn.delete(AGENT_STATE, old.host)


def on_hello(txn: Txn, host: str, facts: HelloFacts) -> None:
    """Registers the host, or notes its new tunnel address; a hello that brings nothing else writes nothing else."""
    registered = Host(id=host, tunnel_ip=parse_ip(facts.tunnel_ip))
    known = txn.peek(HOST, host)
    if known is None:
        txn.insert(HOST, registered)
    elif known != registered:
        txn.update(HOST, registered)

    _keep_agent(txn, host, facts)
    on_life(txn, Life(host, True, facts.push, facts.now))


def _keep_agent(txn: Txn, host: str, facts: HelloFacts) -> None:
    configurations: dict[str, object] = {
        "bridge": facts.bridge,
        "bridge_mappings": dict(facts.bridge_mappings),
        "tunnel_types": ["vxlan"],
        "tunneling_ip": facts.tunnel_ip,
        "version": facts.version,
    }
    zone = facts.availability_zone or None
    known = txn.first(AGENT, BY_HOST, host)
    if known is None:
        txn.insert(
            AGENT,
            Agent(
                id=str(uuid.uuid5(_AGENT_IDS, host)),
                host=host,
                availability_zone=zone,
                configurations=configurations,
                created_at=facts.now,
                updated_at=facts.now,
                started_at=facts.now,
            ),
        )
    elif (known.configurations, known.availability_zone) != (configurations, zone):
        number = known.revision_number + 1
        told = {"configurations": configurations, "availability_zone": zone}
        txn.update(AGENT, msgspec.structs.replace(known, **told, revision_number=number))


def on_life(txn: Txn, life: Life) -> None:
    """Notes that the host's agent came or went. Ignored: a host that never said hello, and the late word of a push that
    the host is gone which has come to another since.
    """
    if txn.peek(HOST, life.host) is None:
        return
    said = AgentState(id=life.host, is_alive=life.is_alive, seen_at=life.now, push=life.push)
    known = txn.peek(AGENT_STATE, life.host)
    if known is None:
        txn.insert(AGENT_STATE, said)
        return
    is_late = not life.is_alive and known.push not in ("", life.push)
    if not is_late and (known.is_alive, known.push) != (life.is_alive, life.push):
        txn.update(AGENT_STATE, said)


def living(reader: Reader) -> Iterator[Life]:
    """The hosts that are held to be alive."""
    return (_life(state) for state in reader.scan(AGENT_STATE) if state.is_alive)


def life_in(change: Change) -> Life | None:
    """What the record says of a host's life; one whose agent was deleted is gone."""
    if change.table != AGENT_STATE.name:
        return None
    return _life(change.old)._replace(is_alive=False) if change.new is None else _life(change.new)


def _life(state: AgentState) -> Life:
    return Life(state.id, state.is_alive, state.push, state.seen_at)


def can_bind(reader: Reader, host: str) -> bool:
    """Whether a port may be bound to `host`: its agent is registered and administratively up, silent or not."""
    agent = reader.first(AGENT, BY_HOST, host)
    return agent is not None and agent.admin_state_up and reader.peek(HOST, host) is not None


def _is_alive(reader: Reader, agent: Agent) -> bool:
    state = reader.peek(AGENT_STATE, agent.host)
    return state is not None and state.is_alive


def _heartbeat(reader: Reader, agent: Agent) -> str:
    state = reader.peek(AGENT_STATE, agent.host)
    return state.seen_at if state else agent.started_at


REST = RestFeature(
    name="agent",
    resources=(
        Resource(
            name="agent",
            plural="agents",
            path="agents",
            table=AGENT,
            aliases=("agent",),
            on_update=on_update,
            on_delete=on_delete,
            computed=(
                Computed("alive", _is_alive, {"type": "boolean"}),
                Computed("heartbeat_timestamp", _heartbeat, {"type": "string"}, filter=False),
            ),
            by_field={"host": BY_HOST},
            access="admin",
            doc="The agents that make Open vSwitch on each host carry what was asked for.",
        ),
    ),
    extensions=(Extension("agent", "agent", "The agent management extension.", "2013-02-03T10:00:00-00:00"),),
)
