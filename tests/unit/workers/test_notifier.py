"""Notices of budgets: entered once, sent on until they arrive, whatever goes wrong in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
import pytest_asyncio
from pydantic import SecretStr
from sqlalchemy import insert, update
from structlog.testing import capture_logs

from broker.errors import DatabaseUnavailable, KafkaUnavailable, SecretMissing
from broker.quota.thresholds import Used
from broker.records import Outgoing
from broker.settings import DatabaseSettings, WebhookSettings
from broker.store.database import Database
from broker.store.migrate import upgrade
from broker.store.notices import Delivery, Notices
from broker.store.tables.identity import organizations
from broker.store.tables.notices import deliveries, webhooks
from broker.telemetry.metrics import Metrics
from broker.webhooks import Delivered, Message, Undelivered, Webhooks
from schemas.notice import Notice
from workers.notifier import RETRY_AFTER_MS, Notifier, Standing

NOW_MS = 1_700_000_000_000
HALF = {"nanodollars_per_day": Used(20_000, 6, 10)}


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'headworks.db'}"
    await upgrade(url)
    opened = await Database.open(DatabaseSettings(url=SecretStr(url)))
    async with opened.begin() as connection:
        await connection.execute(insert(organizations).values(id=2, name="acme", created_ms=0))
        hook = {"id": "wh1", "organization_id": 2, "url": "https://x.example/", "secret_wrapped": b"s"}
        await connection.execute(insert(webhooks).values(hook | {"created_ms": 0}))
    yield opened
    await opened.close()


@dataclass
class Receiver:
    """In place of HTTP: `tests/unit/broker/test_webhooks.py` has that."""

    answers: list[Delivered | Undelivered] = field(default_factory=list)
    taken: list[tuple[str, bytes, Message]] = field(default_factory=list)
    real: dict[str, Webhooks] = field(default_factory=dict)
    """Addresses to which HTTP is used after all."""
    failing: str | None = None
    """The address at which something fails that nobody foresaw."""

    async def deliver(self, url: str, secret: bytes, message: Message) -> Delivered | Undelivered:
        if url in self.real:
            return await self.real[url].deliver(url, secret, message)
        if url == self.failing:
            raise ZeroDivisionError
        self.taken.append((url, secret, message))
        return self.answers.pop(0) if self.answers else Delivered(200)


class Bench:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.used: dict[str, Used] = dict(HALF)
        self.receiver = Receiver()
        self.published: list[Outgoing] = []
        self.told = asyncio.Event()
        self.failures = 0
        self.kafka_away = self.secret_lost = False
        self.metrics = Metrics()
        self.notifier = Notifier(
            self._standings,
            Notices(database),
            self,
            cast(Webhooks, self.receiver),
            self._secret_of,
            lambda: NOW_MS,
            self.metrics,
            0.01,
        )

    async def send_all(self, records: Sequence[Outgoing]) -> None:
        if self.kafka_away:
            raise KafkaUnavailable("away")
        self.published += records
        self.told.set()

    async def _standings(self) -> list[Standing]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("unforeseen")
        return [Standing(2, "acme", "acme/search", self.used)]

    def _secret_of(self, hook: Any) -> bytes:
        if self.secret_lost:
            raise SecretMissing("another key")
        return bytes(hook.secret_wrapped) + b"!"

    async def round(self) -> None:
        await self.notifier.look()
        await self.notifier.deliver()

    async def time_passes(self) -> None:
        async with self.database.begin() as connection:
            due = deliveries.c.due_ms.is_not(None)
            await connection.execute(update(deliveries).where(due).values(due_ms=0))

    async def codes(self) -> dict[str, tuple[str | None, bool]]:
        """By destination, how the last try did, and whether there will be more."""
        async with self.database.connect() as connection:
            columns = (deliveries.c.destination, deliveries.c.code, deliveries.c.due_ms)
            rows = await connection.execute(deliveries.select().with_only_columns(*columns))
            return {row.destination: (row.code, row.due_ms is not None) for row in rows}


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


async def test_a_threshold_is_told_on_the_topic_and_to_the_webhook(bench: Bench) -> None:
    await bench.round()
    ((url, secret, message),) = bench.receiver.taken
    (record,) = bench.published
    assert (url, secret, message.at_s) == ("https://x.example/", b"s!", NOW_MS // 1000)
    assert (record.topic, record.key, record.value) == ("events", b"2", message.body)
    assert dict(record.headers)["webhook-id"] == message.id.encode()
    notice = Notice.model_validate(orjson.loads(message.body))
    assert notice.type == "budget.threshold"
    assert notice.data.model_dump() == {
        "organization": "acme",
        "subject": "acme/search",
        "limit": "nanodollars_per_day",
        "window": 20_000,
        "percent": 50,
        "used": 6,
        "cap": 10,
    }


async def test_each_threshold_is_told_once_a_window(bench: Bench) -> None:
    for amount in (6, 7, 8, 9, 10, 10):
        bench.used = {"nanodollars_per_day": Used(20_000, amount, 10)}
        await bench.round()
    percents = [orjson.loads(record.value)["data"]["percent"] for record in bench.published]
    assert percents == [50, 80, 100]
    bench.used = {"nanodollars_per_day": Used(20_001, 5, 10)}
    await bench.round()
    assert len(bench.published) == len(bench.receiver.taken) == 4


async def test_of_a_limit_that_was_raised_the_thresholds_are_told_anew(bench: Bench) -> None:
    for amount, cap in ((10, 10), (10, 20), (16, 20), (20, 20), (20, 20)):
        bench.used = {"nanodollars_per_day": Used(20_000, amount, cap)}
        await bench.round()
    told = [orjson.loads(record.value)["data"] for record in bench.published]
    assert [(each["percent"], each["cap"]) for each in told] == [(100, 10), (50, 20), (80, 20), (100, 20)]


async def test_what_does_not_arrive_is_sent_again_under_the_same_id(bench: Bench) -> None:
    bench.receiver.answers = [Undelivered("timeout"), Undelivered("status_500")]
    await bench.round()
    assert await bench.codes() == {"events": (None, False), "wh1": ("timeout", True)}
    await bench.round()
    assert len(bench.receiver.taken) == 1
    for _ in range(2):
        await bench.time_passes()
        await bench.round()
    assert len({message.id for _, _, message in bench.receiver.taken}) == 1
    assert len(bench.receiver.taken) == 3
    assert await bench.codes() == {"events": (None, False), "wh1": (None, False)}
    assert len(bench.published) == 1


async def test_what_never_arrives_is_given_up(bench: Bench) -> None:
    bench.receiver.answers = [Undelivered("unreachable")] * 99
    for _ in range(len(RETRY_AFTER_MS) + 3):
        await bench.round()
        await bench.time_passes()
    assert len(bench.receiver.taken) == len(RETRY_AFTER_MS) + 1
    assert (await bench.codes())["wh1"] == ("unreachable", False)


async def test_with_kafka_away_the_webhook_is_told_and_the_topic_later(bench: Bench) -> None:
    bench.kafka_away = True
    await bench.round()
    assert await bench.codes() == {"events": ("kafka_unavailable", True), "wh1": (None, False)}
    bench.kafka_away = False
    await bench.time_passes()
    await bench.round()
    assert (len(bench.published), len(bench.receiver.taken)) == (1, 1)


async def test_a_secret_that_cannot_be_read_is_tried_again(bench: Bench) -> None:
    bench.secret_lost = True
    await bench.round()
    assert (await bench.codes())["wh1"] == ("secret_missing", True)
    assert bench.receiver.taken == []


async def test_a_webhook_that_was_removed_gets_nothing(bench: Bench) -> None:
    await bench.notifier.look()
    async with bench.database.begin() as connection:
        await connection.execute(update(webhooks).values(removed_ms=1))
    await bench.notifier.deliver()
    assert bench.receiver.taken == []
    assert (await bench.codes())["wh1"] == ("removed", False)


async def test_an_address_on_record_that_cannot_be_read_stops_no_other_and_is_not_told(bench: Bench) -> None:
    async with bench.database.begin() as connection:
        hook = {"id": "wh2", "organization_id": 2, "url": "https://x.example:99999/hush", "created_ms": 0}
        await connection.execute(insert(webhooks).values(hook | {"secret_wrapped": b"s"}))
    over_http = Webhooks(WebhookSettings())
    bench.receiver.real["https://x.example:99999/hush"] = over_http
    with capture_logs() as logs:
        await bench.round()
    await over_http.close()
    assert await bench.codes() == {
        "events": (None, False),
        "wh1": (None, False),
        "wh2": ("url_invalid", False),
    }
    [said] = [each for each in logs if each["event"] == "notice.undelivered"]
    assert (said["webhook"], said["code"]) == ("wh2", "url_invalid")
    assert "hush" not in str(logs)
    labels = {"destination": "webhook", "code": "url_invalid"}
    assert bench.metrics.registry.get_sample_value("headworks_notices_total", labels) == 1


async def test_a_delivery_that_fails_in_an_unforeseen_way_is_tried_later_and_stops_no_other(
    bench: Bench,
) -> None:
    bench.receiver.failing = "https://x.example/"
    await bench.round()
    assert await bench.codes() == {"events": (None, False), "wh1": ("internal_error", True)}


async def test_an_end_that_cannot_be_noted_stops_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = Notices.ended

    async def away_for_the_topic(self: Notices, delivery: Delivery, code: str | None) -> None:
        if delivery.destination == "events":
            raise DatabaseUnavailable("away")
        await ended(self, delivery, code)

    monkeypatch.setattr(Notices, "ended", away_for_the_topic)
    await bench.round()
    assert await bench.codes() == {"events": (None, True), "wh1": (None, False)}
    labels = {"stage": "notify", "code": "database_unavailable"}
    assert bench.metrics.registry.get_sample_value("headworks_troubles_total", labels) == 1


async def test_a_round_that_fails_does_not_end_it(bench: Bench) -> None:
    bench.failures = 1
    async with bench.notifier, asyncio.timeout(10):
        await bench.told.wait()
    labels = {"stage": "notify", "code": "internal_error"}
    assert bench.metrics.registry.get_sample_value("headworks_troubles_total", labels) == 1
