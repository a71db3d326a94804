"""Fuzz a target with inputs that reach new lines of code: ``python fuzz_atheris.py NAME SECONDS``.

atheris is available for Python 3.11 on Linux; ``make harden`` installs it.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mcp_server_embeddings"]):
    import fuzz_targets


def main(name: str, seconds: str) -> None:
    """Fuzz a target, then end the process: with status 0 if no defect was found."""
    target, seeds = fuzz_targets.targets(fuzz_targets.read_in_process)[name]
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={seconds}", "-max_len=20000", "-rss_limit_mb=3000"]
        atheris.Setup([sys.argv[0], *limits, corpus], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
