"""From a verified record to the bytes that a provider gets, and from its answer to a charge. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from broker.policy import tokens
from broker.pricing.cost import settled
from broker.providers.provider import Answer, Call, Rejected
from broker.providers.routes import Routes, Target
from broker.records import Inner
from schemas.reasons import Failure, Refusal
from schemas.state import Charge, Hold, State
from schemas.terms import Terms
from workers.judging import Judging


class Prepared(NamedTuple):
    target: Target
    call: Call
    request_sha256: str
    """Of the bytes that go out, in hexadecimal."""
    terms: Terms
    """What the answer is charged by: those of the hold, whatever the book says by now."""
    price_version: str
    """Of the book that the terms are from."""
    kept: Mapping[str, str]
    """The values behind the tokens of the request, to be put back into the answer."""
    judging: Judging | None = None
    """Who judges the answer; None where no rule is about it."""


def prepare(inner: Inner, routes: Routes, token_key: bytes) -> Prepared | Refusal:
    """The request re-encoded from what was parsed, under the overrides: policy and provider read the same.

    `token_key`: a Sealer's. Raises TokenMapUnreadable where the answer could not be given back whole.
    """
    state = inner.state
    target, estimate = routes.target(state.model or "", allowed_regions(state)), state.estimate
    if target is None and routes.target(state.model or "") is not None:
        return Refusal.NO_TARGET_IN_REGION
    if target is None or state.endpoint is None or estimate is None:
        return Refusal.NO_TARGET
    request: dict[str, Any] = orjson.loads(inner.value)["request"]
    for name, content in state.overrides.items():
        if content is None:
            request.pop(name, None)
        else:
            request[name] = content
    request["model"] = target.model
    body = _encoded(request)
    terms = Terms.unpacked(estimate.terms)
    call = Call(state.endpoint, body, state.job_id, state.run, state.attempt, terms.counting)
    kept = tokens.unseal(token_key, state, inner.tokens)
    return Prepared(target, call, hashlib.sha256(body).hexdigest(), terms, estimate.price_version, kept)


def _encoded(request: dict[str, Any]) -> bytes:
    """A copy, since it is kept for as long as the call lasts: what orjson gives keeps the room that it was
    written in, many times what is in it.
    """
    return bytes(memoryview(orjson.dumps(request)))


def allowed_regions(state: State) -> tuple[str, ...] | None:
    """Labels of targets, as policy decided. None: any."""
    return None if state.decision is None else state.decision.regions


def answered_charge(state: State, prepared: Prepared, answer: Answer) -> Charge:
    """By the usage that came back; by the hold, marked as estimated, where it cannot be believed."""
    hold = held(state)
    cost = settled(answer.usage, hold, prepared.terms)
    return Charge(
        attempt=state.attempt,
        verdict="answered",
        hold=hold,
        nanodollars=cost.nanodollars,
        estimated=cost.disbelief is not None,
        usage=cost.usage,
        price_version=prepared.price_version,
        target=prepared.target.name,
        reason=None if cost.disbelief is None else cost.disbelief.value,
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
