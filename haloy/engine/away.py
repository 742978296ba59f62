"""Why Docker cannot be reached, in words. Pure."""

from __future__ import annotations

from haloy.errors import EngineUnavailable


def unreachable(problem: BaseException) -> EngineUnavailable:
    """Return the error for a call that C{problem} has ended."""
    return EngineUnavailable(f"Docker is unreachable: {_cause(problem)}")


def _cause(problem: BaseException) -> str:
    """Return what is inside of what libraries have wrapped, each in its own way."""
    failures = getattr(problem, "reasons", None)  # Twisted, of an answer
    inner = [one.value for one in failures or ()]
    inner += [one for one in problem.args if isinstance(one, BaseException)]
    if isinstance(problem.__cause__, BaseException):
        inner.append(problem.__cause__)
    if inner:
        return _cause(inner[-1])
    said = problem.strerror if isinstance(problem, OSError) else ""
    return said or str(problem) or type(problem).__name__
