"""aiohttp's errors in our words."""

from typing import Final, NamedTuple

import aiohttp

from schemas.reasons import Failure


class Trouble(NamedTuple):
    failure: Failure
    sent: bool
    """The provider may have got the request."""


_TROUBLES: Final[tuple[tuple[type[Exception], Trouble], ...]] = (
    (aiohttp.ClientConnectorError, Trouble(Failure.CONNECT_FAILED, sent=False)),
    (aiohttp.ServerFingerprintMismatch, Trouble(Failure.CONNECT_FAILED, sent=False)),
    (aiohttp.ConnectionTimeoutError, Trouble(Failure.CONNECT_FAILED, sent=False)),
    (aiohttp.InvalidURL, Trouble(Failure.CONNECT_FAILED, sent=False)),
    (TimeoutError, Trouble(Failure.TIMEOUT, sent=True)),
    (aiohttp.ClientResponseError, Trouble(Failure.BROKEN_ANSWER, sent=True)),
    (aiohttp.ClientPayloadError, Trouble(Failure.CONNECTION_LOST, sent=True)),
    (aiohttp.ClientError, Trouble(Failure.CONNECTION_LOST, sent=True)),
    (OSError, Trouble(Failure.CONNECTION_LOST, sent=True)),
)
"""The first that fits. What a lost connection carried is unknown, so it counts as sent."""

ERRORS: Final = (aiohttp.ClientError, OSError)
"""Everything that a call may raise for what the network or a server did. TimeoutError is an OSError."""


def translate(error: Exception) -> Trouble:
    """Of one of ERRORS."""
    return next(trouble for kind, trouble in _TROUBLES if isinstance(error, kind))
