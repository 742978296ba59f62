"""Start a worker in this process: C{python -m haloy.proxy.launch}, see L{main}.

The supervisor spawns it with descriptors that it has opened. The name of this module
stays what it is: after an upgrade, the supervisor that still runs starts the workers of
the new version by it.
"""

from __future__ import annotations

import signal
import sys
from types import ModuleType
from typing import Final

from haloy.libraries import load

_PROGRAM: Final = "haloy-proxy: a worker"


def main() -> None:
    """Run a worker by the arguments C{REACTOR CONTROL HTTP HTTPS}.

    C{REACTOR} is the module of one that can be installed; C{CONTROL} is a
    descriptor; C{HTTP} and C{HTTPS} are descriptors with commas between them.
    """
    reactor, control, http, https = sys.argv[1:]
    # Our TLS is the standard library's. Twisted would load pyOpenSSL and cryptography
    # if it could: 14 MB in every worker.
    sys.modules["OpenSSL"] = None  # type: ignore[assignment]  # cannot be imported
    # Twisted hands on this name, and nobody here takes it: behind it come a client of
    # HTTP and the parsers of mail, 2 MB.
    sys.modules["http.cookiejar"] = ModuleType("http.cookiejar")
    # Who presses Ctrl-C means the supervisor, which ends us in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    load(reactor, _PROGRAM).install()
    load("haloy.proxy.split.worker", _PROGRAM).run(
        int(control), _numbers(http), _numbers(https)
    )


def _numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",") if one]


if __name__ == "__main__":
    main()
