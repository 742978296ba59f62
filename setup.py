"""Compile the hot modules of the proxy into a wheel that is to have them.

C{HALOY_COMPILED=1 pip wheel .} with a C compiler, which is what C{install.sh
--compiled} does; all else of the packaging is in C{pyproject.toml}. Who asks for it
gets it or an error that says what is missing, never the other form in silence. The
same files run interpreted everywhere else. C{haloyd version} says which form runs.
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
    "body_splice",
    "connection",
    "demand",
    "descriptor",
    "downstream",
    "exchange",
    "fast_path",
    "fast_request",
    "fields",
    "forwarded",
    "forwarding",
    "head",
    "head_cache",
    "http2/answers",
    "http2/bodies",
    "http2/budget",
    "http2/control",
    "http2/decoder",
    "http2/downstream",
    "http2/engine",
    "http2/exchange",
    "http2/fast_path",
    "http2/forwarding",
    "http2/frames",
    "http2/grpc_fast_path",
    "http2/head",
    "http2/hpack",
    "http2/huffman",
    "http2/multiplexed",
    "http2/outgoing",
    "http2/plan",
    "http2/sender",
    "http2/stream",
    "http2/stream_state",
    "http2/trunk",
    "http2/turn",
    "http2/upstream",
    "metrics",
    "naming",
    "origin",
    "pool",
    "response_head",
    "seen",
    "splice",
    "switch",
    "target",
    "timer_wheel",
    "tls/bulk",
    "tls/client_hello",
    "tls/intake",
    "tls/shaking",
    "tunnel",
    "tunnel_splice",
    "upload_turns",
    "upstream",
    "upstream_selection",
)


#: mypyc, and what the hot modules import: without attrs mypy takes none of their
#: classes. Only who compiles has these fetched, each time into a place of its own.
NEEDED = ("mypy>=1.13", "attrs>=24.1", "twisted>=24.11")
WANTED = os.environ.get("HALOY_COMPILED") == "1"


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
    if not WANTED or "bdist_wheel" not in sys.argv:
        return []
    reason = _why_not()
    if reason:
        sys.exit(
            f"haloy: the proxy cannot be compiled: {reason}. Install gcc and Python's "
            "headers (Debian: gcc libc6-dev python3-dev, Fedora: gcc python3-devel, "
            "Alpine: gcc musl-dev python3-dev), or leave HALOY_COMPILED out: the "
            "proxy does the same interpreted, for more CPU."
        )
    from mypyc.build import mypycify  # noqa: PLC0415 - found a moment ago

    with tempfile.TemporaryDirectory() as folder:
        # Types are checked elsewhere: here only they that are written count.
        config = Path(folder) / "mypy.ini"
        config.write_text(
            "[mypy]\nignore_missing_imports = True\nfollow_imports = silent\n"
        )
        modules = [f"haloy/proxy/{name}.py" for name in HOT]
        extensions: list[Extension] = mypycify(
            [f"--config-file={config}", *modules],
            opt_level="2",
            debug_level="0",
            group_name="haloy_proxy",
        )
    if sys.platform == "linux":
        for one in extensions:
            # Our functions call each other as they are, and not by a table that others
            # could put theirs into.
            one.extra_compile_args.append("-fno-semantic-interposition")
            one.extra_link_args.append("-Wl,-Bsymbolic")
    return extensions


setup(ext_modules=_extensions(), setup_requires=NEEDED if WANTED else ())
