# SPDX-License-Identifier: Apache-2.0
"""Why a switch refuses, in words: OpenFlow 1.4 section 7.5.4 and Open vSwitch's own codes."""

from __future__ import annotations

_NICIRA = 0xFFFF2320  # Open vSwitch's own errors, as `replies.refused` numbers them
_EXPERIMENTER = 0xFFFF0000

_REASONS: dict[tuple[int, int], tuple[str, str]] = {
    (0, 0): ("OFPHFC_INCOMPATIBLE", "it does not speak OpenFlow 1.4 (see the bridge's `protocols`)"),
    (0, 1): ("OFPHFC_EPERM", "this connection may not be made"),
    (1, 0): ("OFPBRC_BAD_VERSION", "it does not speak OpenFlow 1.4 (see the bridge's `protocols`)"),
    (1, 1): ("OFPBRC_BAD_TYPE", "it does not know this type of message"),
    (1, 2): ("OFPBRC_BAD_STAT", "it does not know this multipart request"),
    (1, 3): ("OFPBRC_BAD_VENDOR", "it does not know the experimenter: it is no Open vSwitch"),
    (1, 4): ("OFPBRC_BAD_SUBTYPE", "it does not know this experimenter message"),
    (1, 5): ("OFPBRC_EPERM", "this connection may not ask for that"),
    (1, 6): ("OFPBRC_BAD_LEN", "the message has a wrong length"),
    (1, 9): ("OFPBRC_BAD_TABLE_ID", "there is no such table"),
    (1, 10): ("OFPBRC_IS_SECONDARY", "another controller has the only right to write"),
    (1, 11): ("OFPBRC_BAD_PORT", "there is no such port"),
    (1, 12): ("OFPBRC_BAD_PACKET", "the packet is malformed"),
    (2, 0): ("OFPBAC_BAD_TYPE", "it does not know an action"),
    (2, 1): ("OFPBAC_BAD_LEN", "the actions have a wrong length"),
    (2, 2): ("OFPBAC_BAD_VENDOR", "it does not know the experimenter of an action"),
    (2, 3): ("OFPBAC_BAD_VENDOR_TYPE", "it does not know an experimenter's action"),
    (2, 4): ("OFPBAC_BAD_OUT_PORT", "an output names a port that cannot be"),
    (2, 5): ("OFPBAC_BAD_ARGUMENT", "an action's argument is wrong"),
    (2, 6): ("OFPBAC_EPERM", "an action is not permitted"),
    (2, 7): ("OFPBAC_TOO_MANY", "there are too many actions"),
    (2, 10): (
        "OFPBAC_MATCH_INCONSISTENT",
        "an action needs a field that the match does not fix (its prerequisite)",
    ),
    (2, 11): ("OFPBAC_UNSUPPORTED_ORDER", "the actions cannot be done in this order"),
    (2, 13): ("OFPBAC_BAD_SET_TYPE", "an action names a field that it does not know"),
    (2, 14): ("OFPBAC_BAD_SET_LEN", "an action reaches past the end of a field"),
    (2, 15): ("OFPBAC_BAD_SET_ARGUMENT", "an action sets a field that is read-only, or to a wrong value"),
    (3, 0): ("OFPBIC_UNKNOWN_INST", "it does not know an instruction"),
    (3, 1): ("OFPBIC_UNSUP_INST", "the table does not take this instruction"),
    (3, 2): ("OFPBIC_BAD_TABLE_ID", "an instruction names a table that cannot be"),
    (3, 7): ("OFPBIC_BAD_LEN", "an instruction has a wrong length"),
    (4, 0): ("OFPBMC_BAD_TYPE", "it does not know this type of match"),
    (4, 1): ("OFPBMC_BAD_LEN", "the match has a wrong length"),
    (4, 5): ("OFPBMC_BAD_WILDCARDS", "the match leaves open what must be given"),
    (4, 6): ("OFPBMC_BAD_FIELD", "it does not know a field of the match"),
    (4, 7): ("OFPBMC_BAD_VALUE", "a field of the match has a value that cannot be"),
    (4, 8): ("OFPBMC_BAD_MASK", "a field of the match takes no such mask"),
    (4, 9): (
        "OFPBMC_BAD_PREREQ",
        "a field of the match needs another one that is not given (its prerequisite)",
    ),
    (4, 10): ("OFPBMC_DUP_FIELD", "the match names a field twice"),
    (5, 0): ("OFPFMFC_UNKNOWN", "the flow was refused without a reason"),
    (5, 1): ("OFPFMFC_TABLE_FULL", "the table is full"),
    (5, 2): ("OFPFMFC_BAD_TABLE_ID", "there is no such table"),
    (5, 4): ("OFPFMFC_EPERM", "the flow may not be changed"),
    (5, 6): ("OFPFMFC_BAD_COMMAND", "it does not know this command"),
    (12, 1): ("OFPMMFC_METER_EXISTS", "there is a meter of this number"),
    (12, 2): ("OFPMMFC_INVALID_METER", "a meter has a number that cannot be, or the datapath has none"),
    (12, 3): ("OFPMMFC_UNKNOWN_METER", "there is no such meter"),
    (12, 5): ("OFPMMFC_BAD_FLAGS", "it does not meter in this unit"),
    (12, 6): ("OFPMMFC_BAD_RATE", "a meter has a rate that cannot be"),
    (12, 7): ("OFPMMFC_BAD_BURST", "a meter has a burst that cannot be"),
    (12, 10): ("OFPMMFC_OUT_OF_METERS", "there are too many meters"),
    (17, 0): ("OFPBFC_UNKNOWN", "the bundle was refused without a reason"),
    (17, 2): ("OFPBFC_BAD_ID", "there is no such bundle"),
    (17, 3): ("OFPBFC_BUNDLE_EXIST", "there is a bundle of this number"),
    (17, 4): ("OFPBFC_BUNDLE_CLOSED", "the bundle is closed"),
    (17, 5): ("OFPBFC_OUT_OF_BUNDLES", "there are too many bundles"),
    (17, 9): ("OFPBFC_MSG_BAD_XID", "a message in the bundle has another xid than its envelope"),
    (17, 10): ("OFPBFC_MSG_UNSUP", "this message cannot be in a bundle"),
    (17, 12): ("OFPBFC_MSG_TOO_MANY", "the bundle has too many messages"),
    (17, 13): ("OFPBFC_MSG_FAILED", "a message of the bundle failed"),
    (17, 14): ("OFPBFC_TIMEOUT", "the bundle was open for too long"),
    (17, 15): ("OFPBFC_BUNDLE_IN_PROGRESS", "another bundle is being done"),
    (_NICIRA, 2): ("NXBRC_NXM_INVALID", "the match is malformed"),
    (_NICIRA, 3): ("NXBRC_NXM_BAD_TYPE", "it does not know a field of the match"),
    (_NICIRA, 4): ("NXBRC_MUST_BE_ZERO", "bytes that must be zero are not"),
    (_NICIRA, 11): ("NXBAC_MUST_BE_ZERO", "bytes of an action that must be zero are not"),
    (_NICIRA, 15): (
        "NXBAC_BAD_CONJUNCTION",
        "a conjunction stands beside other actions, or has no 1 to n of 2 to 64",
    ),
    (_NICIRA, 17): ("NXTTMFC_BAD_OPT_LEN", "a tunnel option has a wrong length"),
    (_NICIRA, 19): ("NXTTMFC_TABLE_FULL", "there is no room for another tunnel option"),
    (_NICIRA, 20): ("NXTTMFC_ALREADY_MAPPED", "the tunnel option is mapped already"),
    (_NICIRA, 37): ("NXFMFC_INVALID_TLV_FIELD", "tun_metadata0 stands for no tunnel option (map one first)"),
    (_NICIRA, 42): ("NXBAC_CT_DATAPATH_SUPPORT", "the datapath cannot do this kind of connection tracking"),
    (_NICIRA, 43): (
        "NXBMC_CT_DATAPATH_SUPPORT",
        "the datapath cannot match on this kind of connection tracking",
    ),
}


def reason_of(kind: int, code: int) -> str:
    """An error's type and code as a sentence with the name that manuals know it by.

    An experimenter's error has the type 0xffff0000 plus the low half of the experimenter's number.
    """
    known = _REASONS.get((kind, code))
    if known is not None:
        name, meaning = known
        return f"the switch refuses it: {meaning} ({name})"
    if kind > _EXPERIMENTER:
        return f"the switch refuses it (experimenter {kind - _EXPERIMENTER:#x}, error {code})"
    return f"the switch refuses it (error type {kind}, code {code})"
