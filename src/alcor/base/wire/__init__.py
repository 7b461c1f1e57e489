# SPDX-License-Identifier: Apache-2.0
"""What both ends of the wire share: the messages of `proto/alcor.proto` (generated), hashes of rows and of interest,
and the stream that carries bytes. Neither `push` nor `agent` imports the other.
"""
