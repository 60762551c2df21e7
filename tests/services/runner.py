"""What a server runs in: a local process or a container. Both keep port and data over a stop and a start."""

from typing import Protocol


class ServerUnavailable(Exception):
    """A real server cannot be had. The text says what to install or what its last words were."""


class Runner(Protocol):
    def start(self) -> None: ...

    def stop(self) -> None:
        """Ask the server to end in its own orderly way, then wait for it; one that does not is killed."""

    def kill(self) -> None:
        """End it as a power cut would, with all its children."""

    def pause(self) -> None:
        """Freeze it: its connections stay open and nothing answers."""

    def resume(self) -> None: ...

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within that time."""

    def log_tail(self) -> str: ...

    def close(self) -> None:
        """Stop it and give up what it holds. It cannot be started again."""
