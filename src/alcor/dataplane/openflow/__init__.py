# SPDX-License-Identifier: Apache-2.0
"""OpenFlow 1.4 with Open vSwitch's extensions, as far as the pipeline uses it: values to bytes and back; no I/O.

    fields     one match term or constant   Term, SetField   <-> OXM
    actions    what a flow does             Action           <-> bytes
    messages   what is said to a switch     Flow, packet-out  -> bytes
    replies    what a switch says           bytes             -> Flow, packet-in, refusal

What a switch gives back of a flow that was sent decodes to an equal flow. Whatever the bytes are, decoding ends in a
value or in `Malformed`. The connection itself is `agent.switch`.
"""
