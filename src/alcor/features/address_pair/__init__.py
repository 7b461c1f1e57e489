# SPDX-License-Identifier: Apache-2.0
"""Addresses and MACs that several ports may have: who is asked for them, and which of them has them now."""
