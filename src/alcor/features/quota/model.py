# SPDX-License-Identifier: Apache-2.0
"""What is kept of a project's quotas."""

from alcor.base.errors import NotFound
from alcor.store.declare import Stored, Table


class ProjectQuota(Stored, frozen=True, kw_only=True):
    """Bounds of one project that are not the settings' defaults. `id` is the project's."""

    limits: dict[str, int] = {}  # by the quota's name; -1 is no bound


QUOTA: Table[ProjectQuota] = Table(
    "quota",
    ProjectQuota,
    missing=lambda id: NotFound(f"Quota for project {id} could not be found.", type="TenantQuotaNotFound"),
)
