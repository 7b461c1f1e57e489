# SPDX-License-Identifier: Apache-2.0
"""Subnets: the address ranges of a network."""
