"""What h2spec finds: 145 cases of both RFCs, over TLS, through the proxy."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.proxy.conftest import Starter
from tests.proxy.support import OneContext, backend, echoing, in_thread
from tests.support.tools import H2SPEC

CASES = 145


def h2spec() -> str:
    """Return the command, where it could be built.

    Otherwise nothing is lost but a second opinion: the rules are tested one by one
    in C{test_engine} and C{test_control}.
    """
    for place in (H2SPEC, Path.home() / "go" / "bin" / "h2spec", "h2spec"):
        found = shutil.which(str(place))
        if found is not None:
            return found
    pytest.skip("h2spec is not there; ./test builds it with Go")


@pytest.mark.slow
async def test_every_case_passes(start_proxy: Starter, tmp_path: Path) -> None:
    """The backend reads bodies: one that answers early may be faster than a case."""
    command = h2spec()
    running = start_proxy(
        plain=False, contexts=OneContext(tmp_path, ("h2", "http/1.1"))
    )
    with backend(echoing) as app:
        await running.serve(app, domain="localhost")
        done = await in_thread(
            lambda: subprocess.run(
                [command, "-t", "-k", "-h", "localhost", "-p", str(running.https)],
                capture_output=True,
                text=True,
                timeout=50,
            )
        )
    found = re.search(r"(\d+) tests, (\d+) passed, (\d+) skipped", done.stdout)
    assert found is not None, done.stdout + done.stderr
    print(f"h2spec: {found.group(0)}")
    assert found.group(0) == f"{CASES} tests, {CASES} passed, 0 skipped", done.stdout
