# SPDX-License-Identifier: Apache-2.0
"""The edge towards hosts: cursors, back-pressure, transport. Decides nothing: `goal` does."""
