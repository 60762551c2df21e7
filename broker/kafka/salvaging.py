"""Fetching a batch as it lies in the log, where aiokafka's consumer fails at it."""

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import OffsetOutOfRangeError, for_code
from aiokafka.protocol.fetch import FetchRequest

from broker.errors import KafkaUnavailable
from broker.kafka.connection import client_options, kafka_errors
from broker.kafka.raw_batch import Parts, take_apart
from broker.settings import KafkaSettings

_WAIT_MS = 1_000
_ONE_BATCH_BYTES = 1
"""A broker sends the first batch whole, however little is asked for (KIP-74), and then no more."""


class Salvage:
    """A connection of its own, made when it is first needed."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: AIOKafkaClient | None = None

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def take(self, topic: str, partition: int, offset: int) -> Parts | None:
        """The records from `offset` to the end of its batch; None where the log has no such offset.

        Raises KafkaUnavailable.
        """
        with kafka_errors("fetch a batch"):
            raw = await self._fetch(TopicPartition(topic, partition), offset)
        if raw is None:
            return None
        parts = take_apart(topic, partition, raw, offset)
        if parts is None:
            raise KafkaUnavailable("the batch did not come whole")
        return parts

    async def _fetch(self, place: TopicPartition, offset: int) -> bytes | None:
        client = await self._connected()
        await client.set_topics([place.topic])
        leader = client.cluster.leader_for_partition(place)
        if leader is None or leader == -1:
            await client.force_metadata_update()
            raise KafkaUnavailable("the partition has no leader")
        wanted = [(place.topic, [(place.partition, offset, _ONE_BATCH_BYTES)])]
        response = await client.send(leader, FetchRequest(_WAIT_MS, 1, _ONE_BATCH_BYTES, 0, wanted))
        ((_, ((_, error_code, *rest),)),) = response.topics
        if error_code == OffsetOutOfRangeError.errno:
            return None
        if error_code:
            await client.force_metadata_update()
            raise for_code(error_code)
        return bytes(rest[-1] or b"")

    async def _connected(self) -> AIOKafkaClient:
        if self._client is None:
            client = AIOKafkaClient(**client_options(self._settings))
            await client.bootstrap()
            self._client = client
        return self._client
