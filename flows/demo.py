"""`make demo`: the stack up, a bill analysed as a Prefect run, the report, and where to look at it."""

from __future__ import annotations

import sys
from pathlib import Path

from flows.command_line import INTERRUPTED, run_command
from flows.up import running_stack, show_addresses, wait_until_interrupted

EXAMPLE = Path(__file__).parents[1] / "examples" / "housing-bill.txt"


def demo(source: Path) -> int:
    """The report of the bill at `source`; on a terminal everything stays up until Ctrl-C."""
    print("Starting Postgres, the Prefect server, a worker and the deployments …", file=sys.stderr)
    try:
        with running_stack(port=4200, limit=1) as running:
            print(f"Analysing {source} …", file=sys.stderr)
            code = run_command(["analyze", str(source)])
            if code == INTERRUPTED:
                return code
            show_addresses(running)
            if sys.stdout.isatty():
                print("Ctrl-C stops it all.")
                wait_until_interrupted(running)
            return code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 0


if __name__ == "__main__":
    sys.exit(demo(Path(sys.argv[1]) if len(sys.argv) > 1 else EXAMPLE))
