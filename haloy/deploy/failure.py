"""Why a deployment failed, in the words and by the code that people are given. Pure."""

from __future__ import annotations

from haloy.errors import DeployFailed, HaloyError
from haloy.model.places import without_internals


def as_told(problem: Exception) -> DeployFailed:
    """Return C{problem} with a typed code and without places of the server.

    What nobody foresaw is a mistake of haloyd's own: its log says more.
    """
    if not isinstance(problem, HaloyError):
        return DeployFailed(
            f"haloyd made a mistake ({type(problem).__name__}); its log says more",
            failure="internal",
        )
    return DeployFailed(
        without_internals(problem.reason),
        failure=getattr(problem, "failure", problem.code),
        logs=getattr(problem, "logs", ""),
    )
