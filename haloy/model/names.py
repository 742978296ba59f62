"""Names that travel: apps, domains, deployments. Parsing is the only way to make one.

Rules: C{spec/config.md} sections 5.1 and 5.2, C{spec/labels.md} section 3.
"""

from __future__ import annotations

from typing import NewType

AppName = NewType("AppName", str)
DomainName = NewType("DomainName", str)
DeploymentId = NewType("DeploymentId", str)
