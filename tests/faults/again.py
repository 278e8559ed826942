"""Giving the command again with a limit of time: in a process that is kept for the next time, and ended if it hangs."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Hung(Exception):
    """The command took longer than it may."""


class Again:
    """One process that runs the toy as often as it is asked to, which is quicker than one for every time.

    Args:
        options: of `bench.run`, without `out`.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, out: Path, seconds: float) -> int | None:
        """Number of cells that are missing after the command; None if it ended with an error, which is printed.

        Raises:
            Hung: it took longer than so many seconds; its process is ended.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            )  # fmt: skip
        given, answers = self._process.stdin, self._process.stdout
        until = time.monotonic() + seconds
        given.write(json.dumps({**self._options, "out": str(out)}).encode() + b"\n")
        said = b""
        while not said.endswith(b"\n"):
            if not select.select([answers], [], [], max(0.0, until - time.monotonic()))[0]:
                self.end()
                raise Hung
            more = os.read(answers.fileno(), 1000)
            if not more:
                self.end()
                return None
            said += more
        return int(said)

    def end(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process = None


def serve() -> None:
    """Run the command for every line of options that comes in, and say how many cells are missing then."""
    sys.path.insert(0, str(ROOT))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import bench

    for line in sys.stdin:
        print(len(bench.run(**json.loads(line)).missing), file=answers, flush=True)


if __name__ == "__main__":
    serve()
