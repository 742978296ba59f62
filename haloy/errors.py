"""What can go wrong, as exceptions whose text a person can act on.

One base, few children; each carries fields and one sentence. C{code} is the
machine-readable word that goes into C{X-Haloy-Error} and C{--json} output.
How an error becomes an HTTP status or an exit code is decided in one table in
C{api.server} and one in C{cli.main}, never here.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import define


@define(eq=False)
class HaloyError(Exception):
    """Something that a person can act on; its text is one sentence."""

    code: ClassVar[str] = "error"

    reason: str

    def __str__(self) -> str:
        """Return the sentence."""
        return self.reason


def refused_by_machine(problem: OSError) -> HaloyError:
    """Return what the operating system does not let us do: where, and why in words."""
    where = "" if problem.filename is None else f"{problem.filename}: "
    why = problem.strerror or str(problem) or type(problem).__name__
    return HaloyError(f"this machine refuses it: {where}{why}")


@define(eq=False)
class ConfigError(HaloyError):
    """A file somebody wrote is not right.

    C{line} and C{column} count from 1; 0 is unknown. C{others} are what else is
    wrong in the same file.
    """

    code: ClassVar[str] = "config"

    path: str = ""
    line: int = 0
    column: int = 0
    others: tuple[ConfigError, ...] = ()

    def __str__(self) -> str:
        """Return C{path:line: reason}, a line for each thing that is wrong."""
        place = f"{self.path}:{self.line}" if self.line else self.path
        first = f"{place}: {self.reason}" if place else self.reason
        return "\n".join([first, *map(str, self.others)])


@define(eq=False)
class InvalidValue(HaloyError):
    """A value that came from outside breaks a rule; C{field} is its public name."""

    code: ClassVar[str] = "invalid"

    field: str = ""

    def __str__(self) -> str:
        """Return C{field: reason}."""
        return f"{self.field}: {self.reason}" if self.field else self.reason


@define(eq=False)
class NotFound(HaloyError):
    """The thing asked for does not exist."""

    code: ClassVar[str] = "not-found"


@define(eq=False)
class Conflict(HaloyError):
    """The request does not fit what exists."""

    code: ClassVar[str] = "conflict"


@define(eq=False)
class Unauthorized(HaloyError):
    """No valid token."""

    code: ClassVar[str] = "unauthorized"


@define(eq=False)
class Forbidden(HaloyError):
    """A valid token that may not do this."""

    code: ClassVar[str] = "forbidden"


@define(eq=False)
class PolicyRefused(HaloyError):
    """The server's own rules do not allow this, whoever asks."""

    code: ClassVar[str] = "policy"


@define(eq=False)
class Misdirected(HaloyError):
    """A host name that is not served."""

    code: ClassVar[str] = "misdirected"


@define(eq=False)
class TooMany(HaloyError):
    """A limit of rate or number is reached; try again after C{retry_after_s}."""

    code: ClassVar[str] = "too-many"

    retry_after_s: float = 1.0


@define(eq=False)
class InsufficientStorage(HaloyError):
    """The disk is too full. The text contains C{insufficient disk space}."""

    code: ClassVar[str] = "insufficient-storage"


@define(eq=False)
class EngineError(HaloyError):
    """The container engine refused; C{status} is its HTTP status, 0 when none."""

    code: ClassVar[str] = "engine"

    status: int = 0


@define(eq=False)
class EngineUnavailable(EngineError):
    """The container engine does not answer (in time)."""

    code: ClassVar[str] = "engine-unavailable"


@define(eq=False)
class BadGateway(HaloyError):
    """A container does not take a connection."""

    code: ClassVar[str] = "bad-gateway"


@define(eq=False)
class DeployFailed(HaloyError):
    """A deployment did not go live.

    C{failure} is the typed code of the cause (C{image-not-found},
    C{health-check}, C{exited}, C{oom}, C{port-mismatch}, C{platform}, …);
    C{logs} are the last lines the container wrote, C{""} when none.
    """

    code: ClassVar[str] = "deploy-failed"

    failure: str = "failed"
    logs: str = ""


@define(eq=False)
class CertificateError(HaloyError):
    """No certificate for C{domain}; C{retry_after_s} when the CA named a time."""

    code: ClassVar[str] = "certificate"

    domain: str = ""
    retry_after_s: float | None = None


@define(eq=False)
class ServerUnreachable(HaloyError):
    """The client could not reach haloyd."""

    code: ClassVar[str] = "server-unreachable"


@define(eq=False)
class StoreError(HaloyError):
    """The database cannot be used."""

    code: ClassVar[str] = "store"


def blamed(problem: HaloyError, field: str, place: str) -> HaloyError:
    """Return what a server says of C{field} as a problem of C{place}; others stay.

    Who sent a file knows it by its own name, not by the field that it went in.
    """
    named = f"{field}: "
    if not problem.reason.startswith(named):
        return problem
    return InvalidValue(problem.reason.removeprefix(named), field=place)
