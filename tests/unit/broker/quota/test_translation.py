import inspect

import pytest
from redis import exceptions

from broker.errors import HeadworksError, RedisDamaged, RedisUnavailable, RedisUnfit
from broker.quota.translation import translate, translated

OURS = {
    "ChildDeadlockedError",
    "ClusterCrossSlotError",
    "CrossSlotTransactionError",
    "DataError",
    "ExecAbortError",
    "IncorrectPolicyType",
    "InvalidPipelineStack",
    "LockError",
    "LockNotOwnedError",
    "ModuleError",
    "NoSuchFieldsetError",
    "PubSubError",
    "RedisClusterException",
    "RedisError",
    "ResponseError",
    "WatchError",
}
"""Faults in how we use the client, or features that we do not use: they must be seen, not waited out."""

CLASSES = [
    found
    for _, found in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(found, Exception) and found.__module__ == exceptions.__name__
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_of_the_client_is_mapped_or_known_to_be_ours(kind: type[Exception]) -> None:
    mapped = translate(kind.__new__(kind))
    assert (mapped is None) == (kind.__name__ in OURS)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.ConnectionError("secret-host:6379"), RedisUnavailable),
        (exceptions.TimeoutError("secret-host:6379"), RedisUnavailable),
        (exceptions.OutOfMemoryError("secret-host:6379"), RedisUnavailable),
        (exceptions.ResponseError("MISCONF secret-host"), RedisUnavailable),
        (exceptions.ResponseError("BUSY secret-host"), RedisUnavailable),
        (ConnectionResetError("secret-host"), RedisUnavailable),
        (exceptions.ResponseError("WRONGTYPE secret-host"), RedisDamaged),
        (exceptions.ResponseError("DAMAGED secret-host"), RedisDamaged),
        (exceptions.AuthenticationError("secret-host"), RedisUnfit),
        (exceptions.NoPermissionError("secret-host"), RedisUnfit),
        (exceptions.ResponseError("The user executing the script can't run secret-host"), RedisUnfit),
        (exceptions.ResponseError("ACL failure in script: User secret-host has no"), RedisUnfit),
    ],
)
def test_foreign_errors_leave_as_ours_and_show_nothing(
    error: Exception, expected: type[HeadworksError]
) -> None:
    with pytest.raises(expected) as caught, translated():
        raise error
    assert "secret-host" not in str(caught.value)


def test_a_fault_in_a_script_passes_as_it_is() -> None:
    with pytest.raises(exceptions.ResponseError, match="nil value"), translated():
        raise exceptions.ResponseError("ERR user_script:7: attempt to index a nil value")
