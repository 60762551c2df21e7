"""Which path and method does what."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

import orjson
from pydantic import ValidationError

from headworks.simulate.answering import READERS
from headworks.simulate.answers import error_body, models_body
from headworks.simulate.behaviour import Behaviour, explain
from headworks.simulate.delivery import Delivery, whole
from headworks.simulate.desk import Desk
from headworks.simulate.wire import Request

MODELS: Final = ("gpt-4o", "gpt-4o-mini", "gpt-4.1-mini", "mistral-small-latest", "text-embedding-3-small")
"""What GET /v1/models lists; any other name is answered as well."""


def is_call(request: Request) -> bool:
    """Whether the request is one that is counted and logged."""
    return request.method == "POST" and request.path in READERS


def route(desk: Desk, request: Request) -> Delivery:
    """Calls ask for the key themselves, so that one without it is on record too; /healthz asks for none."""
    methods = _ROUTES.get(request.path)
    if not (is_call(request) or request.path == "/healthz" or desk.authorized(request)):
        return _error(401, "the API key is missing or wrong")
    if methods is None:
        return _error(404, "there is nothing at this path")
    serve = methods.get(request.method)
    if serve is None:
        return _error(405, "this path does not take the method", {"allow": ", ".join(methods)})
    return serve(desk, request)


def _error(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Delivery:
    return whole(status, error_body(status, reason), headers=headers)


def _health(_desk: Desk, _request: Request) -> Delivery:
    return whole(200, orjson.dumps({"status": "ok", "simulated": True}))


def _models(_desk: Desk, _request: Request) -> Delivery:
    return whole(200, models_body(MODELS))


def _calls(desk: Desk, request: Request) -> Delivery:
    """All counts; `?job_id=` those of one job; `?by_job=true` adds the total of each job."""
    query = parse_qs(request.query)
    if "job_id" in query:
        return whole(200, orjson.dumps(desk.counts.of_job(query["job_id"][0]).as_json()))
    summary = desk.counts.summary()
    if query.get("by_job") == ["true"]:
        summary["by_job"] = desk.counts.by_job()
    return whole(200, orjson.dumps(summary))


def _faults(desk: Desk, _request: Request) -> Delivery:
    return whole(200, desk.behaviour.model_dump_json().encode())


def _set_faults(desk: Desk, request: Request) -> Delivery:
    """Replaces the behaviour: what the body leaves out takes its default."""
    try:
        desk.set_behaviour(Behaviour.model_validate_json(request.body))
    except ValidationError as error:
        return _error(400, explain(error))
    return _faults(desk, request)


_ROUTES: Final[Mapping[str, Mapping[str, Callable[[Desk, Request], Delivery]]]] = {
    **{path: {"POST": Desk.take_call} for path in READERS},
    "/v1/models": {"GET": _models},
    "/healthz": {"GET": _health},
    "/calls": {"GET": _calls},
    "/faults": {"GET": _faults, "PUT": _set_faults},
}
