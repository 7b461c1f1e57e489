# SPDX-License-Identifier: Apache-2.0
"""What Open vSwitch does to a packet, as far as the pipeline uses it: the engine under `testing.fake_switch`.

It follows the userspace datapath of OVS 3.1, and a contract test holds it to that. It knows no OpenFlow message, no
megaflow, no group, no meter and no NAT.
"""
