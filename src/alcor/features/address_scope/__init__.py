# SPDX-License-Identifier: Apache-2.0
"""Address scopes: within one, no address stands for two hosts."""
