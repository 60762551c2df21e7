"""What the stages of a process stand on, opened in order and closed in reverse."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Self

from broker.errors import SettingsInvalid
from broker.health.board import HealthBoard
from broker.identity.directory import Directory
from broker.kafka import topics
from broker.kafka.producing import Producer
from broker.kafka.reading import CoordinateReader
from broker.ops import prices
from broker.ops.recounting import count_in
from broker.policy.following import Following
from broker.pricing.book import SHIPPED, PriceBook
from broker.pricing.counters import load_counters
from broker.pricing.project_books import ProjectBooks
from broker.providers.registry import Providers
from broker.quota.gate import Gate
from broker.quota.ledger_source import LedgerSource
from broker.quota.redis_gate import RedisGate, connect
from broker.quota.self_opening import SelfOpeningGate
from broker.records import Sealer
from broker.settings import DatabaseSettings, KafkaSettings, RedisSettings, Settings
from broker.settings_faults import EMBEDDED_REDIS
from broker.store.attempts import Attempts
from broker.store.cancels import Cancels
from broker.store.crowds import Waiting
from broker.store.database import Database
from broker.store.flags import Flags
from broker.store.jobs import Jobs
from broker.store.leases import Leases
from broker.store.migrate import check
from broker.store.notices import Notices
from broker.store.parking import Parking
from broker.store.policies import Policies
from broker.store.reviews import Reviews
from broker.store.settlement import Settlements
from broker.telemetry.metrics import Metrics
from workers.attempts import AttemptBook
from workers.lanes import LANE_WEIGHTS
from workers.lease import Lease
from workers.outlets import Outlets, wall_clock_ms
from workers.settlements import SettlementBook
from workers.targets import Targets
from workers.tombstones import Tombstones
from workers.tools import Tools


@dataclass(frozen=True)
class Parts:
    settings: Settings
    tools: Tools
    books: ProjectBooks
    policy: Following
    directory: Directory
    reader: CoordinateReader
    gate: Gate
    counters: RedisGate
    """What `gate` stands on."""
    jobs: Jobs
    cancels: Cancels
    parking: Parking
    reviews: Reviews
    flags: Flags
    waiting: Waiting
    notices: Notices
    settlements: Settlements
    settlement_book: SettlementBook
    attempts: AttemptBook
    lease: Lease
    targets: Targets
    recount: Callable[[], Awaitable[None]]
    """Tells the gate of corrections that whoever wrote them has not told it of."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, metrics: Metrics, *, with_calls: bool, with_prices: bool
    ) -> AsyncIterator[Self]:
        """Raises ConfigurationError where an operator must mend something, Unavailable where a part is away.

        `with_calls`: the process runs DISPATCH, and so holds a lease. `with_prices`: it runs ADMIT, and so
        decides by the price book, whose use goes on record.
        """
        async with AsyncExitStack() as stack:
            sealer = Sealer(settings.seal_key())
            kek = settings.key_encryption_key()
            books = _books(settings)
            database = await _open_database(stack, settings.database)
            directory = await stack.enter_async_context(
                Directory(database, kek, settings.admit.directory_refresh_ms)
            )
            policy = await stack.enter_async_context(
                Following(Policies(database), directory, settings.admit.directory_refresh_ms, metrics)
            )
            gate = await _open_gate(stack, settings.redis, directory)
            opening = SelfOpeningGate(gate, LedgerSource(database), metrics.gate_closed)
            await topics.require(settings.kafka)
            producer, reader = await _open_kafka(stack, settings.kafka)
            providers = await _open_providers(stack, settings)
            settlements = Settlements(database)
            settlement_book, attempts = _open_ledger(stack, settlements, Attempts(database), opening)
            lease = Lease(Leases(database), settings.dispatch.lease_s, settings.dispatch.lease_renew_s)
            targets = Targets(settings, providers, LANE_WEIGHTS, metrics)
            if with_prices:
                await prices.begin_use(database, books.version)
            if with_calls:
                await _start_calling(stack, lease, _board(settings, targets, metrics))
            cancels = Cancels(database)
            tombstones = await stack.enter_async_context(
                Tombstones(cancels, settings.admit.cancel_refresh_ms, wall_clock_ms, metrics)
            )
            outlets = Outlets(sealer, wall_clock_ms)
            yield cls(
                settings=settings,
                tools=Tools(producer, sealer, outlets, wall_clock_ms, metrics, tombstones),
                books=books,
                policy=policy,
                directory=directory,
                reader=reader,
                gate=opening,
                counters=gate,
                jobs=Jobs(database),
                cancels=cancels,
                parking=Parking(database),
                reviews=Reviews(database),
                flags=Flags(database),
                waiting=Waiting(database),
                notices=Notices(database),
                settlements=settlements,
                settlement_book=settlement_book,
                attempts=attempts,
                lease=lease,
                targets=targets,
                recount=partial(_recount, database, opening),
            )


async def _recount(database: Database, gate: SelfOpeningGate) -> None:
    await count_in(database, gate)


def _books(settings: Settings) -> ProjectBooks:
    """Raises PriceBookInvalid, SettingsInvalid."""
    book = PriceBook.load(settings.prices or SHIPPED)
    return ProjectBooks(book.with_counters(load_counters(settings.tokenizers)))


async def _open_database(stack: AsyncExitStack, settings: DatabaseSettings) -> Database:
    database = await Database.open(settings)
    stack.push_async_callback(database.close)
    await check(database)
    return database


def _open_ledger(
    stack: AsyncExitStack, settlements: Settlements, attempts: Attempts, gate: Gate
) -> tuple[SettlementBook, AttemptBook]:
    """What gathers the ledger's writes; on the way out it ends them."""
    settlement_book = SettlementBook(settlements)
    stack.push_async_callback(settlement_book.close)
    attempt_book = AttemptBook(attempts, gate)
    stack.push_async_callback(attempt_book.close)
    return settlement_book, attempt_book


async def _open_kafka(stack: AsyncExitStack, settings: KafkaSettings) -> tuple[Producer, CoordinateReader]:
    producer = Producer(settings)
    await producer.start()
    stack.push_async_callback(producer.stop)
    reader = CoordinateReader(settings)
    await reader.start()
    stack.push_async_callback(reader.stop)
    return producer, reader


async def _open_providers(stack: AsyncExitStack, settings: Settings) -> Providers:
    providers = await Providers.open(settings.providers)
    stack.push_async_callback(providers.close)
    return providers


async def _start_calling(stack: AsyncExitStack, lease: Lease, board: HealthBoard | None) -> None:
    await lease.start()
    stack.push_async_callback(lease.stop)
    if board is not None:
        board.start()
        stack.push_async_callback(board.stop)


def _board(settings: Settings, targets: Targets, metrics: Metrics) -> HealthBoard | None:
    """None where this process has nobody to share with, or nothing."""
    if settings.redis.url.get_secret_value() == EMBEDDED_REDIS or not targets.health:
        return None
    board = HealthBoard(
        connect(settings.redis),
        settings.redis.prefix,
        targets.health,
        settings.concurrency.share_ms / 1000,
        targets.changed,
        lambda error: metrics.trouble("dispatch", error),
    )
    targets.on_news = board.hurry
    return board


async def _open_gate(stack: AsyncExitStack, settings: RedisSettings, directory: Directory) -> RedisGate:
    gate = await _gate(settings, directory)
    stack.push_async_callback(gate.close)
    return gate


async def _gate(settings: RedisSettings, directory: Directory) -> RedisGate:
    if settings.url.get_secret_value() != EMBEDDED_REDIS:
        return await RedisGate.open(settings, directory.time_zone)
    try:
        from fakeredis import FakeAsyncRedis  # noqa: PLC0415  # only the embedded mode has it installed
    except ImportError:
        raise SettingsInvalid(
            f"redis.url is {EMBEDDED_REDIS}, which takes pip install 'headworks[embedded]'; or name a Redis"
        ) from None
    return RedisGate.embedded(FakeAsyncRedis(), settings.prefix, time_zone_of=directory.time_zone)
