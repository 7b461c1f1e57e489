# SPDX-License-Identifier: Apache-2.0
"""`alcor policy`: the rules by which everything is decided, as a file to override them in."""

import sys

from alcor.base.config import Settings
from alcor.features.control import REST
from alcor.resource.engine import Engine
from alcor.resource.policy import PolicyError
from alcor.resource.sample import sample as sample_of


async def run(sample: bool, settings: Settings) -> int:
    """`--sample` prints every rule, commented out; else the policy file is checked. 1 if it is wrong."""
    engine = Engine(REST)
    policy = engine.policy
    if sample:
        print("\n".join(sample_of(engine)))
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
    for name in policy.unknown():
        print(f"{name} is of what Alcor has not, or misspelt.")
    return 0
