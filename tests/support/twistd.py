"""twistd as it is, but for one thing: coverage is saved before it ends.

twistd ends itself by the signal that it was sent (so that its parent sees how), and
nothing that coverage hooks into runs then: what the daemon did would not count.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from twisted.application import app
from twisted.scripts.twistd import run

COMMAND = (sys.executable, str(Path(__file__)))


def main() -> None:
    """Run twistd with the arguments of this process."""
    end = app._exitWithSignal

    def save_and_end(sig: signal.Signals) -> None:
        # Imported where it measures: elsewhere that would make every start slower.
        coverage = sys.modules.get("coverage")
        measuring = coverage and coverage.Coverage.current()
        if measuring:
            measuring.stop()
            measuring.save()
        end(sig)

    app._exitWithSignal = save_and_end
    sys.argv[0] = "twistd"
    run()


if __name__ == "__main__":
    sys.path[0] = ""  # as the script has it: the current directory, not this one
    main()
