"""The end of an aiokafka consumer, whether or not Kafka is there."""

import asyncio

from aiokafka import AIOKafkaConsumer


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group and close the connections.

    `AIOKafkaConsumer.stop` cancels its fetches and awaits each. One that waits to try again lets that
    cancellation out: where a broker is away, `stop` ends half-way as if its caller had been cancelled.
    """
    stopping = asyncio.ensure_future(consumer.stop())
    try:
        await asyncio.wait((stopping,))
    finally:
        stopping.cancel()
    if not stopping.cancelled():
        stopping.result()
        return
    fetches = list(consumer._fetcher._pending_tasks)  # noqa: SLF001
    for fetch in fetches:
        fetch.cancel()
    await asyncio.gather(*fetches, return_exceptions=True)
    await consumer._client.close()  # noqa: SLF001
