"""Compile the hot modules of the proxy into a wheel that is to have them.

C{HALOY_COMPILED=1 pip wheel .} with a C compiler; all else of the packaging is in
C{pyproject.toml}. The same files run interpreted everywhere else, and where
something is missing. C{haloyd version} says which form runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup

HOT = (
    "access_lines",
    "access_log",
    "balance",
    "body",
    "bulk",
    "carriage",
    "connection",
    "demand",
    "descriptor",
    "downstream",
    "exchange",
    "fields",
    "forwarded",
    "forwarding",
    "head",
    "head_cache",
    "hello",
    "http2/answers",
    "http2/budget",
    "http2/call",
    "http2/control",
    "http2/decoder",
    "http2/downstream",
    "http2/engine",
    "http2/exchange",
    "http2/forwarding",
    "http2/frames",
    "http2/head",
    "http2/hpack",
    "http2/huffman",
    "http2/multiplexed",
    "http2/outgoing",
    "http2/plan",
    "http2/sender",
    "http2/short",
    "http2/stream",
    "http2/trunk",
    "http2/turn",
    "http2/upstream",
    "lane",
    "metrics",
    "naming",
    "origin",
    "passage",
    "pool",
    "response_head",
    "seeking",
    "short_way",
    "splice",
    "switch",
    "target",
    "tunnel",
    "upstream",
    "wheel",
)


def _wanted() -> bool:
    """Tell whether this is the build of a wheel that is to be compiled."""
    return "bdist_wheel" in sys.argv and os.environ.get("HALOY_COMPILED") == "1"


def _why_not() -> str:
    """Return what is missing for a compiled wheel, or C{""}.

    A file is compiled for a test, as a compiler without Python's headers would
    leave half of the modules behind.
    """
    try:
        import mypyc.build  # noqa: F401, PLC0415 - there or not
    except ImportError:
        return "mypy is not installed"
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "try.c"
        source.write_text("#include <Python.h>\n")
        include = sysconfig.get_path("include")
        tried = subprocess.run(
            [compiler, f"-I{include}", "-c", "-o", f"{folder}/try.o", str(source)],
            capture_output=True,
            check=False,
        )
    return "" if tried.returncode == 0 else "Python's headers are not installed"


def _extensions() -> list[Extension]:
    if not _wanted():
        return []
    reason = _why_not()
    if reason:
        print(f"haloy: the wheel is interpreted: {reason}", file=sys.stderr)
        return []
    from mypyc.build import mypycify  # noqa: PLC0415 - found a moment ago

    with tempfile.TemporaryDirectory() as folder:
        # Types are checked elsewhere: here only they that are written count.
        config = Path(folder) / "mypy.ini"
        config.write_text(
            "[mypy]\nignore_missing_imports = True\nfollow_imports = silent\n"
        )
        modules = [f"haloy/proxy/{name}.py" for name in HOT]
        try:
            return mypycify(
                [f"--config-file={config}", *modules],
                opt_level="2",
                debug_level="0",
                group_name="haloy_proxy",
            )
        except SystemExit as problem:
            print(f"haloy: the wheel is interpreted: {problem}", file=sys.stderr)
            return []


setup(ext_modules=_extensions())
