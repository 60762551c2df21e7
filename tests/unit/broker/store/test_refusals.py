"""Who is turned away by PostgreSQL for good, and who is not."""

import asyncpg
import pytest
from asyncpg import exceptions

from broker.store.database import _refusal


@pytest.mark.parametrize(
    "kind",
    [
        exceptions.InvalidAuthorizationSpecificationError,
        exceptions.InvalidCatalogNameError,
        exceptions.InvalidPasswordError,
        exceptions.InsufficientPrivilegeError,
    ],
)
def test_what_an_operator_mends(kind: type[asyncpg.PostgresError]) -> None:
    refused = _refusal(kind('password authentication failed for user "hidden"'))
    assert refused is not None
    assert refused.retryable
    assert "hidden" not in str(refused)


@pytest.mark.parametrize("error", [exceptions.UndefinedTableError("x"), OSError(), ValueError()])
def test_what_is_another_matter(error: Exception) -> None:
    assert _refusal(error) is None
