"""Fuzz heads, bodies and exchanges against h11 with atheris.

usage: python -m tests.proxy.fuzz.fuzz_http CORPUS [-max_total_time=60]

The test run replays the corpus and fuzzes for some seconds from it.
"""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]  # optional

with atheris.instrument_imports(include=["haloy.proxy"]):
    from tests.proxy.differential import check_requests, check_response


def one_input(data: bytes) -> None:
    if not data:
        return
    kind, data = data[0], data[1:]
    if kind % 2:
        check_requests(data)
    else:
        check_response(data, b"HEAD" if kind & 2 else b"GET", kind >> 4)


atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
