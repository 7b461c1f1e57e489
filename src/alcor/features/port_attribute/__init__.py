# SPDX-License-Identifier: Apache-2.0
"""What Nova, DHCP and operators keep with a port and no switch needs: stored, checked and answered."""
