"""Compare the CPU that our proxy and nginx spend on HTTP/2 over TLS, in the same run.

usage: python -m bench.http2 [--rounds N] [--seconds S] [--only WORD]

As L{bench.compare}: user and system time of the proxy's processes for each answered
request, median over the rounds; read ratios below 1.25 as equal. nginx has one
worker. Needs nginx and h2load.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

from bench import compare
from bench.compare import HOST, Stage, Target

# What it is, connections, streams on each, and the path; {n} makes it unique.
CASES = (
    ("GET 1 KiB, 4 x 25", 4, 25, "/1k"),
    ("GET 1 KiB, unique paths, 4 x 25", 4, 25, "/1k?page={n}&q=abcdef"),
    ("GET 1 KiB, 20 x 1", 20, 1, "/1k"),
    ("GET 100 KiB, 4 x 10", 4, 10, "/100k"),
    ("GET 10 MiB, 2 x 2", 2, 2, "/10m"),
)


def load(
    target: Target, folder: Path, case: tuple[str, int, int, str], s: float
) -> float:
    """Ask for C{s} seconds; return how many answers came."""
    _, connections, streams, path = case
    urls = folder / "urls"
    count = 5000 if "{n}" in path else 1
    urls.write_text(
        "".join(f"https://{HOST}{path.format(n=n)}\n" for n in range(count))
    )
    command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{s:g}"]
    command += [f"--connect-to=127.0.0.1:{target.https}", "-i", str(urls)]
    for field in compare.BROWSER:
        name, _, value = field.partition(":")
        command += ["-H", f"{name.lower()}:{value}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    match = re.search(r"(\d+) succeeded, (\d+) failed", text)
    if match is None or int(match.group(1)) < 4 or "protocol: h2\n" not in text:
        raise SystemExit(text)
    return float(match.group(1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="")
    chosen = parser.parse_args()
    compare.FRONT = compare.FRONT.replace("{https} ssl;", "{https} ssl http2;")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        stage = Stage(folder, stock=False)
        try:
            for case in CASES:
                if chosen.only not in case[0]:
                    continue
                costs: dict[str, list[float]] = {one.name: [] for one in stage.targets}
                for _ in range(chosen.rounds):
                    for target in stage.targets:
                        before = target.cpu_s()
                        moved = load(target, folder, case, chosen.seconds)
                        spent = target.cpu_s() - before
                        costs[target.name].append(spent / moved * 1e6)
                nginx, ours = (statistics.median(one) for one in costs.values())
                print(
                    f"{case[0]:34} nginx {nginx:8.0f}  haloy {ours:8.0f} µs"
                    f"  x{ours / nginx:.2f}",
                    flush=True,
                )
        finally:
            stage.close()


if __name__ == "__main__":
    main()
