# SPDX-License-Identifier: Apache-2.0
"""Names of ports and domains of networks: kept and answered; who resolves them comes with DNS."""
