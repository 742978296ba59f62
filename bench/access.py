"""What the access log costs: our proxy without one, with JSON, with combined lines.

usage: python -m bench.access [--rounds N] [--seconds S]

The cheapest request, and the one that promises are measured by, plain and over TLS.
The three get the same load in turn, round after round, and write to a file. What
counts is their processor time for a request of 1 KiB; of each round the cost is what
a log adds to the figure of the round without one. Needs nginx (as the app), wrk and
h2load.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from bench.compare import BROWSER, Stage, Target, wait_for, wrk

REQUESTS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "plain head": (False, ()),
    "browser's head": (False, BROWSER),
    "browser's head, TLS": (True, BROWSER),
}


def spent_us(
    target: Target, seconds: float, tls: bool, fields: tuple[str, ...]
) -> float:
    """Return microseconds of processor time a request."""
    before = target.cpu_s()
    count = wrk(target, "/1k", seconds, tls, fields)
    return (target.cpu_s() - before) / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)  # nginx's workers are nobody
        stage = Stage(folder, stock=False, ours=False)
        try:
            targets = {
                "none": stage._ours(False, "log="),
                "json": stage._ours(False, f"log={folder}/json.log"),
                "combined": stage._ours(False, f"log={folder}/c.log", "combined"),
            }
            for target in targets.values():
                wait_for(target.http)
            for request, (tls, fields) in REQUESTS.items():
                rounds = [
                    {
                        name: spent_us(target, chosen.seconds, tls, fields)
                        for name, target in targets.items()
                    }
                    for _ in range(chosen.rounds)
                ]
                base = statistics.median(one["none"] for one in rounds)
                print(f"{request}: {base:.1f} µs a request without a log")
                for name in ("json", "combined"):
                    part = statistics.median(one[name] / one["none"] for one in rounds)
                    print(f"  {name}: {part - 1:+.1%}")
        finally:
            stage.close()


if __name__ == "__main__":
    main()
