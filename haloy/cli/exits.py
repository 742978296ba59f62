"""Exit codes by class, in one table (C{docs/reference/exit-codes.md})."""

from __future__ import annotations

from haloy.errors import (
    ConfigError,
    DeployFailed,
    Forbidden,
    HaloyError,
    InvalidValue,
    ServerUnreachable,
    Unauthorized,
)

OK = 0
ERROR = 1
USAGE = 2
CONFIGURATION = 3
AUTHENTICATION = 4
UNREACHABLE = 5
DEPLOYMENT_FAILED = 6
PARTLY_FAILED = 7
#: 128 and the number of SIGINT, as shells have it.
INTERRUPTED = 130

_CODES: tuple[tuple[type[HaloyError], int], ...] = (
    (ConfigError, CONFIGURATION),
    (InvalidValue, CONFIGURATION),
    (Unauthorized, AUTHENTICATION),
    (Forbidden, AUTHENTICATION),
    (ServerUnreachable, UNREACHABLE),
    (DeployFailed, DEPLOYMENT_FAILED),
)


def exit_code(problem: HaloyError) -> int:
    """Return the exit code of C{problem}."""
    return next((code for kind, code in _CODES if isinstance(problem, kind)), ERROR)


def exit_code_of_several(problems: list[HaloyError], attempted: int) -> int:
    """Return the exit code when C{problems} came of so many attempts."""
    if not problems:
        return OK
    if len(problems) < attempted:
        return PARTLY_FAILED
    codes = {exit_code(problem) for problem in problems}
    return codes.pop() if len(codes) == 1 else ERROR
