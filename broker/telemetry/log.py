"""Logs: structured events, for people on a terminal and as JSON lines elsewhere, always on standard error.

An event has a stable name (`broker.telemetry.events`) and fields; none may carry a prompt, an answer or
a secret. Should the mistake be made, a field is blanked here whose name says that it would; and of an error
that is not ours type and place are told, not its text, which may quote what it stumbled over.
"""

import logging
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final

import orjson
import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

from broker.errors import HeadworksError
from broker.settings import LogSettings
from broker.telemetry.events import WORDINGS
from broker.telemetry.repeats import Repeats

WITHHELD: Final = "(withheld)"
FRAMES_MAX: Final = 12
FOREIGN_LENGTH_MAX: Final = 500
_LIBRARIES: Final = (
    "aiokafka",
    "aiohttp",
    "alembic",
    "asyncio",
    "faststream",
    "kafka",
    "redis",
    "sqlalchemy",
    "uvicorn",
)
_TELLING: Final = frozenset(
    {"answer", "arguments", "authorization", "body", "completion", "content", "credential", "credentials"}
    | {"envelope", "header", "headers", "input", "key", "message", "messages", "output", "passphrase"}
    | {"password", "prompt", "prompts", "reply", "request", "response", "secret", "secrets", "signature"}
    | {"text", "token", "value"}
)
"""Words that name what is not to be told."""
_HARMLESS: Final = frozenset(
    {
        "bytes",
        "code",
        "count",
        "id",
        "ids",
        "kind",
        "max",
        "min",
        "ms",
        "name",
        "sha256",
        "size",
        "status",
        "type",
    }
)
"""Last words that make another thing of it: `key_id`, `value_sha256`."""

ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure(settings: LogSettings) -> None:
    """Once a process; again, it takes the place of what was there. Libraries' logs come from WARNING on,
    and do not repeat themselves all the time.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        tell_error,
        withhold,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), shorten, *shared],
            processors=[ProcessorFormatter.remove_processors_meta, *_renderers(settings)],
        )
    )
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    root = logging.getLogger()
    handler.addFilter(Repeats(_LIBRARIES))
    root.handlers = [handler]
    root.setLevel(level)
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], True
        library.setLevel(max(level, logging.WARNING))


def is_for_people(settings: LogSettings) -> bool:
    return settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())


def _renderers(settings: LogSettings) -> list[Processor]:
    if is_for_people(settings):
        return [word, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    return [structlog.processors.JSONRenderer(serializer=_json)]


def _json(event: Any, default: Any) -> str:
    return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS).decode()


def word(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """People read the wording; machines the name."""
    event["event"] = WORDINGS.get(event["event"], event["event"])
    return event


def shorten(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The first line of a library's message: asyncio goes on with the repr of whatever failed."""
    event["event"] = str(event.get("event", "")).partition("\n")[0][:FOREIGN_LENGTH_MAX]
    return event


def withhold(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Blank every field whose name says that it holds a prompt, an answer or a secret; numbers may stand."""
    for name, content in event.items():
        if name != "event":
            event[name] = _told(name, content)
    return event


def _told(name: str, content: Any) -> Any:
    if content is None or isinstance(content, int | float):
        return content
    words = str(name).lower().replace("-", "_").split("_")
    if words[-1] not in _HARMLESS and not _TELLING.isdisjoint(words):
        return WITHHELD
    if isinstance(content, Mapping):
        return {inner: _told(inner, value) for inner, value in content.items()}
    return content


def tell_error(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`exc_info` becomes `error` (type, of ours also text), `caused_by` (types) and `trace` (places)."""
    info = _error_info(event.pop("exc_info", None))
    if info is None:
        return event
    kind, error, trace = info
    event["error"] = f"{kind.__name__}: {error}" if isinstance(error, HeadworksError) else kind.__name__
    causes = [type(cause).__name__ for cause in _causes(error)]
    if causes:
        event["caused_by"] = causes
    frames = traceback.extract_tb(trace)[-FRAMES_MAX:]
    event["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return event


def _error_info(given: Any) -> ErrorInfo | None:
    if isinstance(given, BaseException):
        return type(given), given, given.__traceback__
    kind, error, trace = (
        given if isinstance(given, tuple) else sys.exc_info() if given else (None, None, None)
    )
    return None if kind is None or error is None else (kind, error, trace)


def _causes(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and cause not in causes and len(causes) < FRAMES_MAX:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes
