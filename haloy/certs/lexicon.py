"""One record by dns-lexicon: C{python -m haloy.certs.lexicon}, asked on stdin.

A program of its own (L{haloy.certs.dns01.Lexicon} starts it): what providers' modules
do has no limit of time, and a thread that hangs could not be ended. Credentials come
by stdin, where nobody sees them.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any


def main() -> int:
    """Carry out what stdin asks for; say on one line why it was not done.

    It is a JSON object: C{action} (C{create} or C{delete}), C{name}, C{value}, and
    C{config} as dns-lexicon wants it.
    """
    try:
        carry_out(json.load(sys.stdin))
    except Exception as problem:  # each provider has errors of its own
        said = " ".join(str(problem).split()) or type(problem).__name__
        sys.stdout.write(f"{said}\n")
        return 1
    return 0


def carry_out(asked: Mapping[str, Any]) -> None:
    """Create or delete the TXT record."""
    client = importlib.import_module("lexicon.client").Client
    resolver = importlib.import_module("lexicon.config").ConfigResolver
    # Credentials may come from LEXICON_… variables too.
    with client(resolver().with_env().with_dict(asked["config"])) as operations:
        if asked["action"] == "create":
            operations.create_record("TXT", asked["name"], asked["value"])
        else:
            operations.delete_record(None, "TXT", asked["name"], asked["value"])


if __name__ == "__main__":
    sys.exit(main())
