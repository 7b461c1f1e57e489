# SPDX-License-Identifier: Apache-2.0
"""The product: one folder per noun, listed in dependency order in `control.py` and `host.py`."""
