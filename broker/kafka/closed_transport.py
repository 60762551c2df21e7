"""Lets aiokafka outlive a connection that Kafka has closed, on uvloop too.

aiokafka takes an OSError of a write for a broken connection. uvloop raises RuntimeError for a write on a
closed transport instead, which ends aiokafka's own tasks one by one: the consumer or producer then looks
alive and does nothing for ever (https://github.com/aio-libs/aiokafka/issues/1038, open at 0.14).
"""

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def _send_or_break(connection: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:
    try:
        return _send(connection, request, expect_response)
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError("the connection is closed") from error


def mend() -> None:
    """For every connection of this process; a second time changes nothing."""
    AIOKafkaConnection.send = _send_or_break
