# SPDX-License-Identifier: Apache-2.0
"""`alcor policy`: the rules by which everything is decided, as a file to override them in."""

import sys

from alcor.base.config import Settings
from alcor.features.control import REST
from alcor.resource.engine import Engine
from alcor.resource.policy import PolicyError


async def run(sample: bool, settings: Settings) -> int:
    """`--sample` prints every rule, commented out; else the policy file is checked. 1 if it is wrong."""
    policy = Engine(REST).policy
    if sample:
        for rule in sorted(policy.defaults.values(), key=lambda rule: bool(rule.scopes)):
            if rule.scopes:
                print(f"# Intended scope(s): {', '.join(rule.scopes)}")
            print(f'#"{rule.name}": "{rule.check}"\n')
        return 0
    if settings.policy_file is None:
        print("alcor: there is no policy_file to check; --sample prints the defaults.", file=sys.stderr)
        return 1
    try:
        policy.use(settings.policy_file)
    except (PolicyError, OSError) as wrong:
        print(f"alcor: {wrong}", file=sys.stderr)
        return 1
    print(f"{settings.policy_file} is understood.")
    return 0
