# SPDX-License-Identifier: Apache-2.0
"""Segments: the ways in which a network is carried, as objects that subnets can belong to."""
