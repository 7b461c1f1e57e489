# SPDX-License-Identifier: Apache-2.0
"""The shipped test kit: the whole system in one process, and a switch that carries packets."""
