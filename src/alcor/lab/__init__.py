# SPDX-License-Identifier: Apache-2.0
"""Hosts on one machine: Open vSwitch in network namespaces, virtual machines, the emulator."""
