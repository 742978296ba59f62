"""The text of a file that people write."""

from __future__ import annotations

from pathlib import Path

from haloy.errors import ConfigError


def read_text(path: Path) -> str:
    """Return what C{path} says, without a byte order mark.

    @raise FileNotFoundError: it is not there: what that means is the caller's to say.
    @raise ConfigError: it cannot be read, or is no UTF-8: with the line then.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except OSError as problem:
        reason = f"cannot be read: {problem.strerror}"
        raise ConfigError(reason, path=str(path)) from problem
    except UnicodeDecodeError as problem:
        byte = problem.object[problem.start]
        raise ConfigError(
            f"is not UTF-8: byte 0x{byte:02x}; save it as UTF-8",
            path=str(path),
            line=problem.object.count(b"\n", 0, problem.start) + 1,
        ) from None
