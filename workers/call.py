"""From a verified record to the bytes that a provider gets, and from its answer to a charge. Pure."""

import hashlib
from typing import Any, NamedTuple

import orjson

from broker.errors import JobRefused
from broker.pricing.book import ModelPrice, PriceBook
from broker.pricing.cost import charge as cost_of
from broker.providers.provider import Answer, Call, Rejected
from broker.providers.routes import Routes, Target
from broker.records import Inner
from schemas.reasons import Failure, Refusal
from schemas.state import Charge, Hold, State


class Prepared(NamedTuple):
    target: Target
    call: Call
    request_sha256: str
    """Of the bytes that go out, in hexadecimal."""
    price: ModelPrice
    """What the answer is charged by."""
    price_version: str
    """Of the book that the price is from."""


def prepare(inner: Inner, routes: Routes, book: PriceBook) -> Prepared | Refusal:
    """The request re-encoded from what was parsed, under the overrides: policy and provider read the same.

    Nothing is called that could not be charged: a model whose price is gone is refused.
    """
    state = inner.state
    target = routes.target(state.model or "")
    if target is None or state.endpoint is None or state.estimate is None:
        return Refusal.NO_TARGET
    try:
        price = book.price(state.model or "")
    except JobRefused as refused:
        return refused.reason
    request: dict[str, Any] = orjson.loads(inner.value)["request"]
    for name, content in state.overrides.items():
        if content is None:
            request.pop(name, None)
        else:
            request[name] = content
    request["model"] = target.model
    body = orjson.dumps(request)
    call = Call(state.endpoint, body, state.job_id, state.run, state.attempt)
    return Prepared(target, call, hashlib.sha256(body).hexdigest(), price, book.version)


def answered_charge(state: State, prepared: Prepared, answer: Answer) -> Charge:
    """By the usage that came back; by the hold, marked as estimated, where none can be believed."""
    hold, usage = held(state), answer.usage
    cost = hold.nanodollars if usage is None else cost_of(usage, prepared.price)
    return Charge(
        attempt=state.attempt,
        verdict="answered",
        hold=hold,
        nanodollars=cost,
        estimated=usage is None,
        usage=usage,
        price_version=prepared.price_version,
        target=prepared.target.name,
        latency_ms=answer.latency_ms,
    )


def rejected_charge(state: State, prepared: Prepared, rejected: Rejected) -> Charge:
    """A call that the provider refused costs nothing."""
    return Charge(
        attempt=state.attempt,
        verdict="refused",
        hold=held(state),
        nanodollars=0,
        price_version=prepared.price_version,
        target=prepared.target.name,
        reason=rejected.refusal.value,
    )


def failed_charge(
    state: State, hold: Hold, target: str, failure: Failure, *, unknown: bool, latency_ms: int
) -> Charge:
    """A call whose outcome is unknown costs its hold; one that was certainly not served costs nothing."""
    return Charge(
        attempt=state.attempt,
        verdict="unknown" if unknown else "failed",
        hold=hold,
        nanodollars=hold.nanodollars if unknown else 0,
        estimated=unknown,
        price_version="" if state.estimate is None else state.estimate.price_version,
        target=target,
        reason=failure.value,
        latency_ms=latency_ms,
    )


def held(state: State) -> Hold:
    """The hold of an attempt. Raises ValueError where there is none, which RESERVE does not let happen."""
    if state.hold is None:
        raise ValueError("an attempt has a hold")
    return state.hold
