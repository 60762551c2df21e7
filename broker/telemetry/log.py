"""Logs: structured events, for people on a terminal and as JSON lines elsewhere, always on standard error.

An event has a stable name and fields. No field may carry a prompt, an answer or a secret; one whose name says
that it would is blanked, should the mistake be made.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from broker.settings import LogSettings

_FORBIDDEN = frozenset(
    {"prompt", "messages", "content", "completion", "value", "body", "secret", "credential", "api_key", "password"}
)
_LIBRARIES = ("aiokafka", "faststream", "aiohttp", "sqlalchemy", "uvicorn", "asyncio", "kafka")


def configure(settings: LogSettings) -> None:
    """Once a process. Libraries' own logs come through from WARNING on."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _blank,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(settings),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.level.upper())
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def _renderers(settings: LogSettings) -> list[structlog.typing.Processor]:
    on_terminal = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    if on_terminal:
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _blank(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name in _FORBIDDEN.intersection(event):
        event[name] = "(withheld)"
    return event
