"""Whether the hot modules run compiled or as they are written."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from twisted.logger import Logger

from haloy.libraries import foreign

# What makes it known which modules were compiled is needed by all of them.
from haloy.proxy import exchange as _loaded  # noqa: F401

COMPILED: Final = "compiled"
INTERPRETED: Final = "interpreted"
#: An installation of which files were lost: it does the same, for more CPU.
MIXED: Final = "partly compiled"

#: The library with the code of all that was compiled; each module begins in it.
_LIBRARY: Final = "haloy_proxy__mypyc"
_BEGINS: Final = "init_"


def form() -> str:
    """Return L{COMPILED}, L{INTERPRETED} or L{MIXED}, as this process runs."""
    return form_of(sys.modules)


def form_of(modules: Mapping[str, Any]) -> str:
    """Return the form of a process that has loaded C{modules}."""
    library = modules.get(_LIBRARY)
    if library is None:
        return INTERPRETED
    members = [
        name.removeprefix(_BEGINS).replace("___", ".")
        for name in dir(library)
        if name.startswith(_BEGINS)
    ]
    files = [str(modules[name].__file__) for name in members if name in modules]
    written = any(one.endswith((".py", ".pyc")) for one in files)
    return MIXED if written else COMPILED


def tell_of_loss(log: Logger, found: str) -> None:
    """Say so where less of this installation runs compiled than it has compiled."""
    if found == MIXED:
        log.error(
            "files of this installation are lost: a part of the proxy runs "
            "interpreted, for more CPU; install Haloy again"
        )
    elif found == INTERPRETED and (library := foreign()):
        log.error(
            "{library} was compiled for another Python: the proxy runs interpreted, "
            "for more CPU; install Haloy again",
            library=library,
        )
