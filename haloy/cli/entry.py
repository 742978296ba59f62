"""Where the process of C{haloy} begins and ends: Ctrl+C is quiet there too.

Python raises C{KeyboardInterrupt} wherever it is, also in the middle of an import or
while it ends, and shows a traceback then. Nothing is held at these times, so the
process just goes. Imports little: until L{leave_at_once} is called, that holds not.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

#: As C{haloy.cli.exits} has it; that would have to be imported.
INTERRUPTED = 130
#: More than a command's modules make, which all stay: to look through them for
#: garbage while they are imported takes a sixth of the start. What runs for long
#: still has its garbage collected.
OBJECTS_BETWEEN_COLLECTIONS = 200_000


def main() -> None:
    """Run the command."""
    leave_at_once()
    open_streams()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    from haloy.cli.main import main as command  # noqa: PLC0415  (see above)

    try:
        command()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except OSError as problem:  # stdout took no help: its disk is full
        from haloy.cli.failing import fail_unexpectedly  # noqa: PLC0415

        raise SystemExit(fail_unexpectedly(problem, False, False)) from None
    finally:
        leave_at_once()
        gc.freeze()  # Python's last look for garbage takes as long, and frees nothing


def open_streams() -> None:
    """Open what the shell has closed (C{>&-}): Python has no C{sys.stdout} then.

    The number would go to the next socket, too.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def leave_at_once() -> None:
    """Have Ctrl+C end the process with 130, unless it was started to ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def leave_orderly() -> None:
    """Have Ctrl+C raise again: from here on there are things to put away."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)
