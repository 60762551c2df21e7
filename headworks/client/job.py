"""A job as the application states it, and the envelope made of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict
from uuid import UUID

import orjson
from pydantic import ValidationError

from headworks.client.errors import JobInvalid
from schemas.envelope import ENVELOPE_VERSION, TTL_S_DEFAULT, Endpoint, Envelope, RetryPolicy, Tags
from schemas.topics import Lane

TEXT_MAX = 1_024
"""Bytes of an idempotency key or a traceparent."""
NO_TAGS = Tags()
NO_RETRY = RetryPolicy()
"""The defaults; a job that has these very objects is encoded without a look into them."""


@dataclass(frozen=True, slots=True)
class Job:
    request: Mapping[str, Any]
    """The body of the OpenAI-style call."""
    endpoint: Endpoint = "/v1/chat/completions"
    lane: Lane | str | None = None
    """`interactive`, `standard` or `bulk`; None is the client's own."""
    tags: Tags | Mapping[str, str] = NO_TAGS
    """`department`, `feature`, `user`, for chargeback."""
    ttl_s: int = TTL_S_DEFAULT
    retry: RetryPolicy | Mapping[str, Any] = NO_RETRY
    job_id: UUID | None = None
    idempotency_key: str | None = None
    """The job id is derived from it: submitted again with the same request, the job is paid once."""
    traceparent: str | None = None
    reply: bool = True
    """False asks for no reply: nothing can be awaited, and nothing is kept."""


class JobOptions(TypedDict, total=False):
    """The fields of `Job` beside its request."""

    endpoint: Endpoint
    lane: Lane | str | None
    tags: Tags | Mapping[str, str]
    ttl_s: int
    retry: RetryPolicy | Mapping[str, Any]
    job_id: UUID | None
    idempotency_key: str | None
    traceparent: str | None
    reply: bool


def job_of(request: Mapping[str, Any] | Job, options: JobOptions) -> Job:
    if not isinstance(request, Job):
        return Job(request, **options)
    return replace(request, **options) if options else request


def check(job: Job) -> None:
    """What is not part of the envelope. Raises JobInvalid, without what stood in the fields."""
    if not isinstance(job.job_id, UUID | None):
        raise JobInvalid(f"job_id: a uuid.UUID is needed, not {type(job.job_id).__name__}")
    for name, text in (("idempotency_key", job.idempotency_key), ("traceparent", job.traceparent)):
        if text is not None and not (text.isprintable() and len(text.encode("utf-8", "replace")) <= TEXT_MAX):
            raise JobInvalid(f"{name}: printable text of at most {TEXT_MAX} bytes is needed")


def encode(job: Job) -> bytes:
    """The envelope as JSON. What stands at its default is left out, and the order of keys is the caller's, so
    that the same job always has the same bytes (a repeat is known by them).

    Raises JobInvalid, which names fields and never holds what stood in them.
    """
    envelope = _envelope(job)
    fields: dict[str, Any] = {
        "version": ENVELOPE_VERSION,
        "endpoint": envelope.endpoint,
        "request": envelope.request,
    }
    if envelope.tags is not NO_TAGS and (tags := envelope.tags.model_dump(exclude_defaults=True)):
        fields["tags"] = tags
    if envelope.ttl_s != TTL_S_DEFAULT:
        fields["ttl_s"] = envelope.ttl_s
    if envelope.retry is not NO_RETRY and (retry := envelope.retry.model_dump(exclude_defaults=True)):
        fields["retry"] = retry
    try:
        encoded = orjson.dumps(fields)
    except TypeError as error:
        raise JobInvalid(f"the request is not JSON: {error}") from None
    if b"null" in encoded and _has_no_number(fields):
        raise JobInvalid("the request is not JSON: it holds NaN or an infinity")
    return encoded


def _has_no_number(fields: dict[str, Any]) -> bool:
    """Whether there is a number in it that JSON cannot say, and for which orjson says null."""
    waiting: list[Any] = [fields]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, list | tuple):
            waiting += node
        elif isinstance(node, float) and not math.isfinite(node):
            return True
    return False


def _envelope(job: Job) -> Envelope:
    try:
        return Envelope.model_validate(
            {
                "version": ENVELOPE_VERSION,
                "endpoint": job.endpoint,
                "request": job.request,
                "tags": job.tags,
                "ttl_s": job.ttl_s,
                "retry": job.retry,
            }
        )
    except ValidationError as error:
        raise JobInvalid(_wrong(error)) from None


def _wrong(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}"
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    )
