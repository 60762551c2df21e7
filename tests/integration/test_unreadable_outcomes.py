"""What SETTLE cannot read holds nobody up: its position, which a takeover waits for, goes past it."""

from broker.store.database import Database
from broker.store.settlement import Settlements
from schemas import topics
from schemas.topics import Coordinate, Lane
from tests.stack import until
from tests.stack.batches import BAD_KEY, send_batch
from tests.stack.fixtures import Pipeline

TOPIC = topics.outcomes(Lane.BULK)


async def passed(pipeline: Pipeline, last: Coordinate) -> None:
    """Return when SETTLE's position on record lies behind the partition's last record."""
    database = await Database.open(pipeline.stack.settings.database)
    settlements = Settlements(database)

    async def there() -> bool:
        return (await settlements.position(last.topic, last.partition)).next_offset == last.offset + 1

    try:
        await until(there, f"SETTLE to pass {last}")
    finally:
        await database.close()


async def test_a_partition_that_ends_with_what_cannot_be_decoded_is_passed(pipeline: Pipeline) -> None:
    bad = [(b"k", b"v", [(BAD_KEY, b"x")])] * 2
    places = await send_batch(pipeline.stack.settings.kafka, TOPIC, bad, partition=1)
    await passed(pipeline, places[-1])


async def test_a_forged_outcome_at_the_end_is_passed_too(pipeline: Pipeline) -> None:
    forged = [(b"k", b"v", [("a-header", b"x")])]
    places = await send_batch(pipeline.stack.settings.kafka, TOPIC, forged, partition=2)
    await passed(pipeline, places[-1])
