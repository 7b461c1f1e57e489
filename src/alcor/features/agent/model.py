# SPDX-License-Identifier: Apache-2.0
"""What an agent is: the registration of its host, the REST noun, and what is observed of it."""

from typing import Annotated

from alcor.base.net import Ip
from alcor.resource.declare import Api, Standard
from alcor.store.declare import Index, Stored, Table


class Host(Stored, frozen=True, kw_only=True):
    """A host whose agent has said hello. `id` is the host's name; goal reads it for the tunnel address."""

    tunnel_ip: Ip


HOST: Table[Host] = Table("host", Host)


class Agent(Standard, frozen=True, kw_only=True):
    """An agent, as Neutron's agents API shows it. Made by the agent's hello, never by POST."""

    host: Annotated[str, Api(post=False, sort=False)]
    agent_type: Annotated[str, Api(post=False, sort=False)] = "Open vSwitch agent"
    binary: Annotated[str, Api(post=False, sort=False)] = "alcor-agent"
    topic: Annotated[str, Api(post=False, sort=False)] = "N/A"
    availability_zone: Annotated[str | None, Api(post=False, sort=False)] = None
    admin_state_up: Annotated[bool, Api(put=True, sort=False)] = (
        True  # false: no port is bound to its host any more
    )
    configurations: Annotated[dict[str, object], Api(post=False, filter=False, sort=False)] = {}
    started_at: Annotated[str, Api(post=False, filter=False, sort=False)] = ""


BY_HOST: Index[Agent] = Index("host", lambda agent: (agent.host,))
BY_ZONE: Index[Agent] = Index(
    "availability_zone", lambda agent: (agent.availability_zone,) if agent.availability_zone else ()
)
AGENT: Table[Agent] = Table("agent", Agent, indexes=(BY_HOST, BY_ZONE))


class AgentState(Stored, frozen=True, kw_only=True):
    """What is seen of an agent. `id` is the host's name."""

    is_alive: bool
    seen_at: str  # utc_text of the last change
    push: str = ""  # the one that the host came to last: no other's word that it is gone counts


AGENT_STATE: Table[AgentState] = Table("agent_state", AgentState, observed=True)
