"""`make bench`: every speed figure beside its limit, measured in the same run. About nine minutes.

Each benchmark is a process of its own, so that none inherits the other's threads, heap or open servers. Name
some of them to run only those: `python -m tests.benchmarks append http`.
"""

from __future__ import annotations

import subprocess
import sys

ALL = (
    "append",
    "http",
    "visible",
    "projections",
    "fold",
    "feed",
    "end_to_end",
    "maps",
    "crew",
    "journal",
    "restart",
    "audit",
    "streams",
)


def main(names: list[str]) -> int:
    """0 when each ran to its end."""
    if unknown := set(names) - set(ALL):
        print(f"unknown benchmark {min(unknown)!r}; expected some of: {', '.join(ALL)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or ALL:
        print(f"\n== {name}", flush=True)
        failed += (
            subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}"], check=False).returncode != 0
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
