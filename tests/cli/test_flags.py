# SPDX-License-Identifier: Apache-2.0
"""Settings are flags of the verbs that read them."""

from alcor.base.config import Settings
from alcor.cli.main import COMMANDS

SECRET = {"keystone_password"}  # on the command line everybody on the machine would read it


def test_every_setting_is_a_flag_of_some_verb() -> None:
    flags = {name for command in COMMANDS for name in command.settings}
    assert set(Settings.__struct_fields__) - flags == SECRET
