"""How a command of `headworks` becomes a process: in a session of its own, which ends with this process."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from broker.kafka.embedded import leashed


class Child(Protocol):
    """As `subprocess.Popen` where they have a name in common."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float) -> int:
        """Raises subprocess.TimeoutExpired."""

    def let_go(self) -> None:
        """Of one that has ended: nobody needs to hold it any more."""


Begin = Callable[[Sequence[str], Mapping[str, str], Path], Child]
"""By arguments, whole environment and log."""


class Spawned(subprocess.Popen[bytes]):
    """Begins from nothing, as it does for users."""

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, module: str = "headworks"
    ) -> None:
        with log.open("ab") as sink:
            super().__init__(
                leashed(sys.executable, "-m", module, *arguments),
                env=environment,
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    def let_go(self) -> None:
        if self.stdin is not None:
            self.stdin.close()
