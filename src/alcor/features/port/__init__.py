# SPDX-License-Identifier: Apache-2.0
"""Ports: an interface of a network, its addresses, its binding to a host, and whether it is realised there."""
