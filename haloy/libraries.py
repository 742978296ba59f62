"""The compiled files of an installation: whether they can be loaded.

One that is cut off may kill the process that loads it (SIGBUS), so it is looked at
before. Imports little: workers of the proxy use it, too.
"""

from __future__ import annotations

import importlib
import os
import struct
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType
from typing import Final

#: Where the package is; the library that its compiled modules share is beside it.
_PACKAGE: Final = os.path.dirname(os.path.abspath(__file__))
_SHARED: Final = "haloy_proxy__mypyc"
_SUFFIX: Final = ".so"

#: ELF for 64 bits (elf(5)): the table of sections, which linkers write last.
_MAGIC: Final = b"\x7fELF\x02"
_HEADER: Final = struct.Struct("=40xQ10xHH2x")


def load(module: str, program: str) -> ModuleType:
    """Import a module.

    @raise SystemExit: it cannot be; the one line begins with C{program} and says what
        to do.
    """
    problem = damage()
    if not problem:
        try:
            return importlib.import_module(module)
        except ImportError as failed:  # a file or a library that is lost
            problem = str(failed)
    raise SystemExit(f"{program}: {not_whole(problem)}")


def not_whole(problem: object) -> str:
    """Return what people are told of such a C{problem}."""
    return f"this installation is not whole: {problem}; install Haloy again"


def damage(package: str = _PACKAGE) -> str:
    """Return which compiled file is cut off, C{""}: none."""
    for path in _compiled(package):
        size_bytes = os.path.getsize(path)
        wanted_bytes = _least_bytes(path)
        if size_bytes < wanted_bytes:
            return f"{path} has {size_bytes} of {wanted_bytes} bytes"
    return ""


def foreign(
    package: str = _PACKAGE, suffixes: Sequence[str] = EXTENSION_SUFFIXES
) -> str:
    """Return the shared library if it was compiled for another Python, C{""}: no."""
    found = _beside(package)
    taken = {f"{_SHARED}{suffix}" for suffix in suffixes}
    if taken & {os.path.basename(path) for path in found}:
        return ""
    return found[0] if found else ""


def _compiled(package: str) -> Iterator[str]:
    yield from _beside(package)
    for folder, _, names in os.walk(os.path.join(package, "proxy")):
        yield from (os.path.join(folder, one) for one in names if _is_library(one))


def _beside(package: str) -> list[str]:
    folder = os.path.dirname(package)
    names = [one for one in os.listdir(folder) if one.startswith(f"{_SHARED}.")]
    return [os.path.join(folder, one) for one in names if _is_library(one)]


def _is_library(name: str) -> bool:
    return name.endswith(_SUFFIX)


def _least_bytes(path: str) -> int:
    """Return how long a library must be, as it says itself; 0: it does not say."""
    with open(path, "rb") as file:
        header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return _HEADER.size
    if not header.startswith(_MAGIC):
        return 0
    offset, each, count = _HEADER.unpack(header)
    return int(offset + each * count)
