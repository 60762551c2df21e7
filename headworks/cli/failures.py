"""How a failure is told: one line that says what to do, for people and in a log of JSON lines."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from broker.errors import DatabaseUnavailable, HeadworksError, KafkaUnavailable, RedisUnavailable

if TYPE_CHECKING:
    from broker.settings import LogSettings

_REMEDIES = {
    KafkaUnavailable.code: "; start Kafka, or mend kafka.bootstrap_servers; `headworks doctor` checks it",
    DatabaseUnavailable.code: "; start PostgreSQL, or mend database.url; `headworks doctor` checks it",
    RedisUnavailable.code: "; start Redis, or mend redis.url; `headworks doctor` checks it",
    "result_timeout": ", by the same command with --job-id. If no reply ever comes: the broker does not "
    "answer requests that it cannot believe; check the key (`headworks keys list`) and "
    "`headworks doctor --client`",
}


_SERVERS = frozenset({KafkaUnavailable.code, DatabaseUnavailable.code, RedisUnavailable.code})


def told(error: HeadworksError) -> str:
    """Its text, and what to do about it where the text cannot know that."""
    return f"{error}{_REMEDIES.get(error.code, '')}{_of_dev() if error.code in _SERVERS else ''}"


def _of_dev() -> str:
    """Commands of operators do not take what `headworks dev` left by themselves: they might change things."""
    from headworks.client import dev_env

    if not dev_env.fallback(os.environ):
        return ""
    return f"; for the `headworks dev` of this folder: set -a; . {dev_env.PATH}; set +a"


@contextmanager
def failures_logged(log: "LogSettings") -> Iterator[None]:
    """Where the log is for machines, an error of ours is its last event; elsewhere it passes."""
    try:
        yield
    except HeadworksError as error:
        import structlog

        from broker.telemetry.events import Event
        from broker.telemetry.log import configure, is_for_people

        if is_for_people(log):
            raise
        configure(log)
        structlog.stdlib.get_logger(__name__).error(Event.WORKER_FAILED, code=error.code, error=told(error))
        raise typer.Exit(1) from None
