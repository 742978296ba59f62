"""Programs for tests that C{scripts/setup.sh} brings: where they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
TOOLS = _CACHE / "haloy-tests"
NEWER_PEBBLE = TOOLS / "pebble-v2.10.1" / "pebble"
H2SPEC = TOOLS / "h2spec-v2.2.1+incompatible" / "h2spec"
NEWER_DOCKERD = TOOLS / "docker-newer" / "usr" / "sbin" / "dockerd"
SSLYZE = TOOLS / "sslyze" / "bin" / "sslyze"


def need(*places: str | Path) -> str:
    """Return the first of C{places} (commands or paths) that is there.

    Without any the test is skipped; in CI, where all ought to be there, it fails.
    """
    for place in places:
        found = shutil.which(str(place))
        if found is not None:
            return found
    reason = f"needs {places[0]}; ./test installs it"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
