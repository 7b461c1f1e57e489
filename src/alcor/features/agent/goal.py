# SPDX-License-Identifier: Apache-2.0
"""Hosts place no rows of their own; their hello and liveness are written down."""

from alcor.features.agent.rules import living, on_hello, on_liveness
from alcor.goal.declare import GoalFeature, Observer

GOAL = GoalFeature(
    name="agent", observers=(Observer(on_hello=on_hello, on_liveness=on_liveness, living=living),)
)
