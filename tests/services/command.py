"""A program that is run to its end while a server is prepared."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.services.process import descent, wait_until_gone
from tests.services.runner import ServerUnavailable

_OUTPUT_SHOWN = 3_000


def run(
    command: Sequence[str], *, home: Path, user: str | None = None, text: str = "", timeout_s: float = 120
) -> None:
    """Run it in `home`, as `user` where one is named, with `text` as its input.

    Raises ServerUnavailable, with the end of its output, where it fails. When it takes too long or we are
    interrupted, it ends with all its children before this returns, so that `home` can be removed.
    """
    process = subprocess.Popen(
        command,
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,
        user=user,
        group=user,
        extra_groups=[] if user else None,
    )
    with process:
        try:
            output, _ = process.communicate(text, timeout=timeout_s)
        except BaseException:
            _kill(process.pid)
            raise
    if process.returncode != 0:
        raise ServerUnavailable(f"{command[0]} failed:\n{output[-_OUTPUT_SHOWN:]}")


def _kill(leader: int) -> None:
    family = descent(leader)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    wait_until_gone(family[1:], timeout_s=10)
