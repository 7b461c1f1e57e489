# SPDX-License-Identifier: Apache-2.0
"""A port on two hosts while its machine migrates: bindings that wait, activation, and what follows a move."""
