# SPDX-License-Identifier: Apache-2.0
"""Hosts place no rows of their own; their hello and liveness are written down."""

from alcor.features.agent.rules import life_in, living, on_hello, on_life
from alcor.goal.declare import GoalFeature, Observer

GOAL = GoalFeature(
    name="agent",
    observers=(Observer(on_hello=on_hello, on_life=on_life, living=living, life_in=life_in),),
)
