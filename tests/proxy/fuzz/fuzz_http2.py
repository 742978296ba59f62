"""Fuzz sessions of HTTP/2 with atheris.

usage: python -m tests.proxy.fuzz.fuzz_http2 CORPUS [-max_total_time=60]

The test run replays the corpus and fuzzes for some seconds from it.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]  # optional

with atheris.instrument_imports(include=["haloy.proxy"]):
    from tests.proxy.http2.sessions import check_session

atheris.Setup(sys.argv, check_session)
atheris.Fuzz()
