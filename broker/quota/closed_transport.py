"""Lets redis-py outlive a connection that was reset, on uvloop too.

redis-py takes an OSError of a write for a broken connection, and makes another. uvloop raises RuntimeError
for a write on a closed transport instead, which passes for a fault of ours: and every pooled connection that
a restart, a failover or a firewall has reset is such a one.
"""

from collections.abc import Iterable

from redis.asyncio.connection import AbstractConnection

_send = AbstractConnection._send_packed_command  # noqa: SLF001 - it has no hook


async def _send_or_break(self: AbstractConnection, command: Iterable[bytes]) -> None:
    try:
        await _send(self, command)
    except RuntimeError as error:
        raise ConnectionResetError("the connection is closed") from error


def mend() -> None:
    """For every connection of this process; a second time changes nothing."""
    AbstractConnection._send_packed_command = _send_or_break  # type: ignore[method-assign]  # noqa: SLF001
