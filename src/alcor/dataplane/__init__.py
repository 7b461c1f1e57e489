# SPDX-License-Identifier: Apache-2.0
"""The OVS pipeline as declared tables; matches, actions and flows as values. Does no I/O: `agent` does."""
