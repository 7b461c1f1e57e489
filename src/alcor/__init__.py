# SPDX-License-Identifier: Apache-2.0
"""Alcor: a control plane for virtual private cloud networks, spoken to in Neutron's API, kept by Open vSwitch."""
