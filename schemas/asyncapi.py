"""The AsyncAPI 3.0 document of every topic: what lies on it, under which headers, who reads and writes it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from schemas import headers, topics
from schemas.topics import APPLICATION_PATTERN, Lane, RetryDelay

VERSION: Final = "1.0.0"
"""Of what travels, not of the software: the first number is the envelope's version."""

_DECIMAL: Final = r"^[0-9]{1,15}$"
_UUID: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
_JOB_ID: Final = {"type": "string", "pattern": _UUID, "description": "The job id."}
_JSON: Final = "application/json"


class Channel(NamedTuple):
    name: str
    address: str
    messages: tuple[str, ...]
    action: str
    """From where the broker stands: it receives, sends, or (between its own stages) does both."""
    text: str
    parameters: tuple[str, ...] = ()


CHANNELS: Final = (
    Channel(
        "jobs", "jobs.{lane}", ("job", "cancel"), "receive", "Where applications publish jobs.", ("lane",)
    ),
    Channel(
        "ownJobs",
        "jobs.{lane}.{application}",
        ("job", "cancel"),
        "receive",
        "An application's own, where it needs walls; nobody else's jobs are believed on it.",
        ("lane", "application"),
    ),
    Channel(
        "replies",
        topics.replies("{application}"),
        ("reply",),
        "send",
        "Final replies of an application; also any topic replies.<application>.<name>.",
        ("application",),
    ),
    Channel("admitted", "admitted.{lane}", ("inner",), "both", "Authentic, valid and new.", ("lane",)),
    Channel("reserved", "reserved.{lane}", ("inner",), "both", "With a hold on budget and quota.", ("lane",)),
    Channel(
        "outcomes",
        "outcomes.{lane}",
        ("outcome",),
        "both",
        "Every job's end, before it is settled.",
        ("lane",),
    ),
    Channel("retry", "retry.{delay}", ("inner",), "both", "Waits for the next attempt.", ("delay",)),
    Channel(
        "parked",
        topics.PARKED,
        ("inner",),
        "both",
        "Waits for a budget's window, for room, or for a reviewer.",
    ),
    Channel(
        "events",
        topics.EVENTS,
        ("notice", "reviewNotice"),
        "send",
        "What organizations are told of their budgets, and of jobs that wait for a reviewer.",
    ),
    Channel("dead", topics.DEAD, ("deadLetter",), "send", "What could not be done; operators read it."),
)

PARAMETERS: Final[Mapping[str, dict[str, Any]]] = {
    "lane": {"enum": [lane.value for lane in Lane], "description": "Quality of service, best first."},
    "delay": {"enum": [delay.value for delay in RetryDelay], "description": "The longest wait of this tier."},
    "application": {"description": f"The application's name: {APPLICATION_PATTERN}"},
}


def _headers(required: Mapping[str, Any], optional: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


def _text(description: str, **more: str) -> dict[str, str]:
    return {"type": "string", **more, "description": description}


def _signed(content_type: str, optional: Mapping[str, Any]) -> dict[str, Any]:
    return _headers(
        {
            headers.VERSION: {"const": "1"},
            headers.APPLICATION: _text("The application's name.", pattern=f"^{APPLICATION_PATTERN}$"),
            headers.KEY_ID: _text("Of the key that signed."),
            headers.CONTENT_TYPE: {"const": content_type},
            headers.CORRELATION_ID: _JOB_ID,
            headers.REPLY_TO: _text(
                "topic, topic/partition or topic/partition/instance; empty for no reply."
            ),
            headers.ISSUED_AT: _text(
                "Milliseconds since the Unix epoch by the client's clock.", pattern=_DECIMAL
            ),
            headers.SIGNATURE: _text("HMAC-SHA256 (docs/envelope.md).", pattern="^[0-9a-f]{64}$"),
        },
        optional,
    )


_SEALED: Final = {
    headers.CORRELATION_ID: _JOB_ID,
    headers.STATE: {"$ref": "#/components/schemas/State"},
    headers.SEAL: _text(
        "32 bytes of HMAC-SHA256 over topic, state and SHA-256 of the value.", format="binary"
    ),
}
_NOTE: Final = {headers.DEAD_LETTER: {"$ref": "#/components/schemas/DeadLetter"}}

_NOTICE: Final = _headers(
    {headers.CONTENT_TYPE: {"const": _JSON}, headers.WEBHOOK_ID: _text("The same in a repeat.")}, {}
)
_NOTICE_KEY: Final = _text("The number of the organization, in decimal.")

HEADERS: Final[Mapping[str, dict[str, Any]]] = {
    "job": _signed(_JSON, {headers.TRACEPARENT: _text("W3C Trace Context; not signed.")}),
    "cancel": _signed(headers.CANCEL, {}),
    "inner": _headers(_SEALED, {}),
    "outcome": _headers(_SEALED, {}),
    "reply": _headers(
        {
            headers.CONTENT_TYPE: {"const": _JSON},
            headers.CORRELATION_ID: _JOB_ID,
            headers.REPLY_TO: _text("As the job gave it."),
            headers.STATUS: {"$ref": "#/components/schemas/Reply/properties/status"},
            headers.RUN: _text("1 so far: kept for further runs of a job.", pattern=_DECIMAL),
        },
        {headers.TRACEPARENT: _text("As the job gave it.")},
    ),
    "notice": _NOTICE,
    "reviewNotice": _NOTICE,
    "deadLetter": _headers(_NOTE, _SEALED),
}
PAYLOADS: Final[Mapping[str, dict[str, Any]]] = {
    "job": {"$ref": "#/components/schemas/Envelope"},
    "cancel": {"type": "null", "description": "No value, or zero bytes."},
    "inner": {"$ref": "#/components/schemas/Envelope"},
    "outcome": {"$ref": "#/components/schemas/Reply"},
    "reply": {"$ref": "#/components/schemas/Reply"},
    "notice": {"$ref": "#/components/schemas/Notice"},
    "reviewNotice": {"$ref": "#/components/schemas/ReviewNotice"},
    "deadLetter": {"description": "The bytes that failed, as they came."},
}
TITLES: Final[Mapping[str, str]] = {
    "job": "A job, signed by its application",
    "cancel": "A job is called off, signed by its application; its correlation id names the job",
    "inner": "A job under the broker's seal",
    "outcome": "A job's end under the broker's seal",
    "reply": "The final reply",
    "notice": "What an organization is told of a budget",
    "reviewNotice": "What an organization is told of a job that waits for a reviewer",
    "deadLetter": "A dead letter",
}


_JOB_KEY: Final = _text("The job id's 16 bytes.", format="binary")
KEYS: Final[Mapping[str, dict[str, str]]] = {
    **dict.fromkeys(("job", "cancel", "inner", "outcome", "reply"), _JOB_KEY),
    "notice": _NOTICE_KEY,
    "reviewNotice": _NOTICE_KEY,
}


def asyncapi(schemas: Mapping[str, Any]) -> dict[str, Any]:
    """`schemas` by name; they refer to each other as `#/components/schemas/<name>`."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Headworks",
            "version": VERSION,
            "description": "A durable, asynchronous broker for LLM jobs on Kafka.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": _JSON,
        "channels": {channel.name: _channel(channel) for channel in CHANNELS},
        "operations": dict(_operations()),
        "components": {"messages": {name: _message(name) for name in TITLES}, "schemas": schemas},
    }


def _channel(channel: Channel) -> dict[str, Any]:
    described: dict[str, Any] = {
        "address": channel.address,
        "description": channel.text,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in channel.messages},
    }
    if channel.parameters:
        described["parameters"] = {name: PARAMETERS[name] for name in channel.parameters}
    return described


def _operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for channel in CHANNELS:
        for action in ("receive", "send") if channel.action == "both" else (channel.action,):
            place = f"#/channels/{channel.name}"
            yield (
                f"{action}{channel.name[0].upper()}{channel.name[1:]}",
                {
                    "action": action,
                    "channel": {"$ref": place},
                    "messages": [{"$ref": f"{place}/messages/{name}"} for name in channel.messages],
                },
            )


def _message(name: str) -> dict[str, Any]:
    message = {"name": name, "title": TITLES[name], "headers": HEADERS[name], "payload": PAYLOADS[name]}
    if headers.CORRELATION_ID in HEADERS[name]["required"]:
        message["correlationId"] = {"location": f"$message.header#/{headers.CORRELATION_ID}"}
    if (key := KEYS.get(name)) is not None:
        message["bindings"] = {"kafka": {"key": key, "bindingVersion": "0.5.0"}}
    return message
