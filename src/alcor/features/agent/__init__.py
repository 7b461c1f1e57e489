# SPDX-License-Identifier: Apache-2.0
"""Hosts that run an agent: their registration, and the agents API that shows them."""
