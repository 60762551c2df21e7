"""Which errors of the Redis client mean that Redis is away, or damaged, and which that it will not do."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions

from broker.errors import HeadworksError, RedisDamaged, RedisUnavailable, RedisUnfit

_UNFIT = (
    exceptions.AuthenticationError,
    exceptions.AuthenticationWrongNumberOfArgsError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
)
_AWAY = (
    exceptions.AskError,
    exceptions.ClusterError,
    exceptions.ConnectionError,
    exceptions.InvalidResponse,
    exceptions.NoScriptError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.SlotNotCoveredError,
    exceptions.TimeoutError,
    exceptions.TryAgainError,
    OSError,
)
_AWAY_CODES = frozenset({"BUSY", "MISCONF", "NOREPLICAS"})
"""Error codes that the client gives no class of its own."""
_DAMAGE_CODES = {
    "WRONGTYPE": "a key of the gate is of another type",
    "DAMAGED": "a key of the gate holds what no script of the gate writes",
}
"""The second is what the scripts themselves say."""
_NOT_PERMITTED = ("The user executing the script can't", "ACL failure in script")
"""How Redis 7.0, and how 7.2 and later, begin to say that a user may run a script and not what is in it."""


@contextmanager
def translated() -> Iterator[None]:
    """Raises RedisUnavailable or RedisUnfit in place of the client's errors; ours pass as they are."""
    try:
        yield
    except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
        raise translate(error) or error from error


def translate(error: BaseException) -> HeadworksError | None:
    """The error to raise in place of the client's, or None where it is a fault of ours.

    The text never holds the URL.
    """
    kind = type(error).__name__
    if isinstance(error, _UNFIT):
        return RedisUnfit(
            f"Redis lets this user do less than the gate needs ({kind}); mend redis.url or the ACL"
        )
    if isinstance(error, _AWAY):
        return RedisUnavailable(f"Redis is away: {kind}")
    if isinstance(error, exceptions.ResponseError) and str(error).startswith(_NOT_PERMITTED):
        return RedisUnfit("Redis lets this user run no command of the gate's scripts; mend the ACL")
    return _by_code(str(error).partition(" ")[0]) if isinstance(error, exceptions.ResponseError) else None


def _by_code(code: str) -> HeadworksError | None:
    if code in _DAMAGE_CODES:
        return RedisDamaged(f"the counters in Redis are damaged: {_DAMAGE_CODES[code]}")
    return RedisUnavailable(f"Redis is away: {code}") if code in _AWAY_CODES else None
