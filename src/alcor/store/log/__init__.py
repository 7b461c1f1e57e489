# SPDX-License-Identifier: Apache-2.0
"""The log: its contract and one module per backend."""
