"""Which records of a reply topic are this instance's, and what they say."""

import logging
import zlib
from uuid import UUID

from pydantic import ValidationError

from broker.records import Incoming
from headworks.client.results import Result, result_of
from schemas import headers
from schemas.reply import Reply
from schemas.topics import ReplyTo, replies

_log = logging.getLogger(__name__)


def address(application: str, instance: str, partitions: int) -> ReplyTo:
    """An instance's own place in its application's reply topic; the same name has the same place."""
    return ReplyTo(replies(application), zlib.crc32(instance.encode()) % partitions, instance)


def addressed_to(record: Incoming, reply_to: bytes) -> bool:
    return any(name == headers.REPLY_TO and value == reply_to for name, value in record.headers)


def job_of(record: Incoming) -> UUID | None:
    """By its header, so that a reply that nobody awaits is never opened; None where that is missing."""
    for name, value in record.headers:
        if name == headers.CORRELATION_ID:
            try:
                return UUID((value or b"").decode())
            except ValueError:
                return None
    return None


def opened(record: Incoming, job_id: UUID) -> Result | None:
    """None, and a log line with the coordinate alone, where it is no reply of that job."""
    try:
        reply = Reply.model_validate_json(record.value or b"")
    except ValidationError:
        unreadable(record)
        return None
    if reply.job_id != job_id:
        unreadable(record)
        return None
    return result_of(reply)


def unreadable(record: Incoming) -> None:
    _log.error("reply_unreadable at %s/%d/%d", record.topic, record.partition, record.offset)
