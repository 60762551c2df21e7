from collections.abc import Iterator

import aiohttp
import pytest

from broker.providers.translation import ERRORS, Trouble, translate
from schemas.reasons import Failure


def kinds_of(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds_of(kind)


def raised_by_calls() -> list[type[Exception]]:
    kinds = {*kinds_of(aiohttp.ClientError), *kinds_of(OSError)}
    return sorted(
        (kind for kind in kinds if kind.__module__ in {"aiohttp.client_exceptions", "builtins"}),
        key=lambda kind: kind.__name__,
    )


@pytest.mark.parametrize("kind", raised_by_calls(), ids=lambda kind: kind.__name__)
def test_every_error_of_aiohttp_has_a_translation(kind: type[Exception]) -> None:
    error = kind.__new__(kind)

    assert isinstance(error, ERRORS)
    assert isinstance(translate(error), Trouble)


def test_only_an_error_before_the_connection_says_that_nothing_was_sent() -> None:
    unsent = {kind for kind in raised_by_calls() if not translate(kind.__new__(kind)).sent}

    assert all(translate(kind.__new__(kind)).failure is Failure.CONNECT_FAILED for kind in unsent)
    assert aiohttp.ConnectionTimeoutError in unsent
    assert aiohttp.ServerDisconnectedError not in unsent
    assert aiohttp.ClientOSError not in unsent


def test_an_error_of_our_own_making_is_not_taken_for_a_servers() -> None:
    assert not issubclass(ValueError, ERRORS)
    assert not issubclass(RuntimeError, ERRORS)
