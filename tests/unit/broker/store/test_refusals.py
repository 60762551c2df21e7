"""Who is turned away by PostgreSQL for good, and who is not."""

from socket import gaierror

import asyncpg
import pytest
from asyncpg import exceptions

from broker.errors import SettingsInvalid
from broker.store.database import _refusal, parse_url
from broker.store.translation import translate


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


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgres://hidden@db/x", "must begin with postgresql+asyncpg:// or sqlite+aiosqlite://"),
        ("postgresql+psycopg://hidden@db/x", "must begin with postgresql+asyncpg:// or sqlite+aiosqlite://"),
        ("postgresql+asyncpg://hidden@db:port/x", "its port is not a number"),
        ("postgresql+asyncpg://hidden@db:99999/x", "its port must lie between 1 and 65535"),
        ("postgresql+asyncpg://hidden@db:0/x", "its port must lie between 1 and 65535"),
        ("hidden", "is not a URL"),
    ],
)
def test_a_url_that_cannot_serve_is_told_by_its_fault(url: str, told: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        parse_url(url)
    assert told in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (gaierror(-2, "Name or service not known"), "its host has no address that can be found"),
        (ConnectionRefusedError(111, "refused"), "nothing listens at its host and port"),
        (TimeoutError(), "no answer in time"),
    ],
)
def test_a_server_that_cannot_be_reached_is_away_for_a_reason(error: OSError, told: str) -> None:
    assert str(translate(error)) == f"the database is away: {told}"
