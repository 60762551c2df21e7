"""Is this installation fit to run? All parts are asked at once; one that is away spoils no other's check."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import chain

from yarl import URL

from broker.errors import SettingsInvalid, Unavailable
from broker.ops.check_database import check_database
from broker.ops.check_kafka import check_kafka
from broker.ops.check_redis import check_redis
from broker.ops.checks import Check, attempt
from broker.policy.injection import readers
from broker.pricing.book import SHIPPED, PriceBook
from broker.pricing.counters import load_counters
from broker.providers.openai import constant_headers, url_of
from broker.settings import ProviderTarget, Settings, config_path

_SECRETS = (
    "set the secrets that all other workers have; for a new installation `headworks keys generate-secret` "
    "prints one"
)
_COMPILED = "prompts are read by what was compiled"
_INTERPRETED = (
    "prompts are read by Python alone, at two to three times the CPU: to change that, install a C compiler "
    "and Headworks anew"
)


class ProviderUnreachable(Unavailable):
    """Nothing listens at a target's address, or its name does not resolve."""

    code = "provider_unreachable"


async def diagnose() -> list[Check]:
    """Every check, in the order in which an operator would mend what fails."""
    try:
        settings = Settings.load()
    except SettingsInvalid as error:
        return [Check.failed("settings", error, f"mend {config_path()} or the HEADWORKS_* variables")]
    groups = await asyncio.gather(
        _check_settings(settings),
        check_database(settings),  # `headworks topics apply` asks it for the applications
        check_kafka(settings),
        check_redis(settings.redis),
        _check_providers(settings),
    )
    return list(chain.from_iterable(groups))


async def _check_settings(settings: Settings) -> Sequence[Check]:
    path = config_path()
    source = f"{path} and HEADWORKS_* variables" if path.is_file() else "HEADWORKS_* variables and defaults"
    return (
        Check.passed("settings", f"read from {source}"),
        await attempt("secrets", _SECRETS, lambda: _secrets(settings)),
        await attempt(
            "prices", "mend what `prices` or `tokenizers` names, or take it out", lambda: _prices(settings)
        ),
        Check.passed("detector", _COMPILED if readers.COMPILED else _INTERPRETED),
    )


async def _secrets(settings: Settings) -> str:
    settings.key_encryption_key()
    settings.seal_key()
    return "the key-encryption key and the seal key are set"


async def _prices(settings: Settings) -> str:
    book = PriceBook.load(settings.prices or SHIPPED).with_counters(load_counters(settings.tokenizers))
    return _told(book, datetime.now(UTC).date())


def _told(book: PriceBook, today: date) -> str:
    told = f"{len(book.by_name)} model names, version {book.version}"
    if book.counters:
        told += f"; tokens are counted exactly by {', '.join(book.counters)}"
    if book.review_by is not None and book.review_by <= today:
        return f"{told}; prices were announced to change on {book.review_by}: import them again"
    return told


async def _check_providers(settings: Settings) -> Sequence[Check]:
    if not settings.providers:
        error = SettingsInvalid("no provider is configured, so that every job would be refused (no_target)")
        return [Check.failed("providers", error, f"add [providers.NAME] with base_url to {config_path()}")]
    return await asyncio.gather(*(_provider(name, target) for name, target in settings.providers.items()))


async def _provider(name: str, target: ProviderTarget) -> Check:
    fix = f"mend providers.{name}.base_url, or let this host reach it"
    try:
        constant_headers(name, target)
        url = url_of(name, target.base_url, "/v1/embeddings")
    except SettingsInvalid as error:
        return Check.failed(f"provider {name}", error, f"mend [providers.{name}]")
    return await attempt(f"provider {name}", fix, lambda: _reach(url, target.connect_timeout_s))


async def _reach(url: URL, timeout_s: float) -> str:
    """Open a connection and close it. Whether the API key is right shows only in a call that is paid for."""
    host, port = url.host, url.port
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        raise ProviderUnreachable(
            f"{host}:{port} cannot be reached: {error.strerror or 'timed out'}"
        ) from None
    writer.close()
    return f"{host}:{port} takes connections"
