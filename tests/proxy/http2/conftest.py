"""A proxy that offers HTTP/2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.proxy.conftest import Running, Starter
from tests.proxy.support import OneContext


@pytest.fixture
def start_http2(start_proxy: Starter, tmp_path: Path) -> Starter:
    """Return what starts proxies with TLS and HTTP/2."""
    contexts = OneContext(tmp_path, ("h2", "http/1.1"))

    def start(**rest: Any) -> Running:
        # Clients of tests do not answer the goodbye.
        rest.setdefault("stop_s", 0.05)
        return start_proxy(plain=False, contexts=contexts, **rest)

    return start
