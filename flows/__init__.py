"""What happens, in order: Prefect flows and the command line."""

import os

# Prefect would report its first use to its makers. Nothing of ours leaves this machine without being asked for.
os.environ.setdefault("DO_NOT_TRACK", "1")
