"""The process that serves a GGUF chat model as an OpenAI-compatible endpoint on loopback (llama.cpp)."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
from pathlib import Path
from typing import Any

from blocks.embedded.model_server import LOOPBACK, announce, free_port

WARNINGS = 2
PROMPT_CACHE_MIB = 4096
SPIN_COUNT = "2000"
"""How long llama.cpp's threads wait for each other actively, as libgomp reads it when it is loaded.

They meet many times per token. With the default (about 300,000) one that has lost its core to another program
costs the others milliseconds each time: beside one busy program on two cores, 2 tokens a second are written
instead of 10. On quiet cores the number makes no difference (27 a second).
"""


def main() -> None:
    """Announce this process, load the model, serve until a signal ends it.

    There is nothing to save and llama.cpp's own shutdown waits half a minute for a running answer, so SIGTERM
    keeps its default: the process ends at once.
    """
    options = parse_options()
    announce(options.announce)
    server = serve(options)
    announce(options.announce, server.listening_address, options.context)
    while True:
        signal.pause()


def parse_options() -> argparse.Namespace:
    """The command line, as `ModelServer` and `EmbeddedStack` write it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--announce", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--context", type=int, required=True)
    return parser.parse_args()


def serve(options: argparse.Namespace) -> Any:
    """A llama.cpp server that has its model loaded and listens.

    One slot: on two cores four requests at once generate no faster than one after the other, and with one slot
    they share the prompt prefix that the first one read (10 s instead of 24 s for four short questions on
    400 tokens). Prefixes of other documents wait in the prompt cache in memory.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    llama = importlib.import_module("xllamacpp")
    parameters = llama.CommonParams()
    parameters.model.path = str(options.weights)
    parameters.model_alias = {options.model}
    parameters.n_ctx = options.context
    parameters.n_parallel = 1
    parameters.cache_prompt = True
    parameters.cache_ram_mib = prompt_cache_mib()
    parameters.hostnames = [LOOPBACK]
    parameters.port = free_port(options.port)
    # No web page may read from here, and nobody may read others' prompts.
    parameters.cors_origins = ""
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.verbosity = WARNINGS
    return llama.Server(parameters)


def prompt_cache_mib() -> int:
    """An eighth of the memory, at most 4 GiB, for prompts already read."""
    import psutil

    return min(PROMPT_CACHE_MIB, psutil.virtual_memory().total // 8 // 2**20)


if __name__ == "__main__":
    main()
