"""A write on a closed transport is a broken connection, whatever the event loop calls it."""

import asyncio

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest

from broker.kafka.connection import client_options
from broker.settings import KafkaSettings


async def _write_on_a_closed_one() -> None:
    client_options(KafkaSettings())
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        place = server.sockets[0].getsockname()[:2]
        connection = AIOKafkaConnection(*place, request_timeout_ms=5_000)
        connection._reader, connection._writer = await asyncio.open_connection(*place)
        connection._read_task = connection._create_reader_task()
        connection._writer.transport.abort()
        await asyncio.sleep(0)
        with pytest.raises(KafkaConnectionError):
            await connection.send(ApiVersionRequest())
        assert not connection.connected()


def test_a_write_on_a_closed_transport_breaks_the_connection() -> None:
    uvloop.run(_write_on_a_closed_one())
