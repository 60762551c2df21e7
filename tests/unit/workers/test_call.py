"""A provider gets what was parsed, under the overrides; what an attempt costs follows from its end."""

import hashlib
import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.providers.provider import Answer
from broker.providers.routes import Routes
from broker.records import Inner
from broker.settings import ProviderTarget
from schemas.reasons import Disbelief, Failure, Refusal
from schemas.state import Decision, State, Usage
from tests.unit.workers.memory import HOLD, JOB, TERMS, state
from workers.call import Prepared, answered_charge, failed_charge, prepare

REQUEST = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Name a canal."}], "seed": 3}


def routes(**targets: Any) -> Routes:
    return Routes({name: ProviderTarget(base_url="http://x/v1", models=of) for name, of in targets.items()})


ANY = routes(openai=[])
TOKEN_KEY = b"t" * 32


def inner(request: dict[str, Any] | None = None, of: State | None = None) -> Inner:
    value = orjson.dumps({"version": 1, "endpoint": "/v1/chat/completions", "request": request or REQUEST})
    return Inner(of or state(), value, hashlib.sha256(value).digest())


def prepared(job: Inner, to: Routes = ANY) -> Prepared:
    made = prepare(job, to, TOKEN_KEY)
    assert isinstance(made, Prepared)
    return made


def test_what_is_kept_for_a_call_takes_little_more_memory_than_it_is_long() -> None:
    job = inner({**REQUEST, "messages": [{"role": "user", "content": "canal " * 200}]})
    prepared(job)
    tracemalloc.start()
    try:
        body = prepared(job).call.body
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(body) > 1_200
    assert kept < 2 * len(body)


def test_a_call_carries_the_request_and_says_whose_attempt_it_is() -> None:
    made = prepared(inner(of=state(run=2, attempt=4)))
    assert orjson.loads(made.call.body) == REQUEST
    assert (made.call.endpoint, made.call.job_id, made.call.run, made.call.attempt) == (
        "/v1/chat/completions",
        JOB,
        2,
        4,
    )
    assert made.target.name == "openai"


def test_the_digest_is_of_the_bytes_that_go_out() -> None:
    made = prepared(inner(of=state(overrides={"max_tokens": 9})))
    assert made.request_sha256 == hashlib.sha256(made.call.body).hexdigest()
    assert b'"max_tokens":9' in made.call.body


overrides = st.dictionaries(
    st.sampled_from(["max_tokens", "max_completion_tokens", "seed"]), st.none() | st.integers(1, 10**6)
)


@given(overrides)
def test_overrides_set_and_leave_out_fields_and_touch_no_other(changes: dict[str, int | None]) -> None:
    request = REQUEST | {"max_tokens": 5}
    sent = orjson.loads(prepared(inner(request, state(overrides=changes))).call.body)
    for name, content in changes.items():
        assert sent.get(name) == content
        assert (name in sent) == (content is not None)
    kept = request.keys() - changes.keys()
    assert {name: sent[name] for name in kept} == {name: request[name] for name in kept}
    assert sent.keys() <= request.keys() | changes.keys()


def test_the_target_s_own_name_of_the_model_is_sent() -> None:
    made = prepared(inner(), routes(azure={"gpt-4o-mini": "our-deployment"}))
    assert orjson.loads(made.call.body)["model"] == made.target.model == "our-deployment"


def test_the_terms_are_those_of_the_estimate_whatever_the_target_calls_the_model() -> None:
    made = prepared(inner(), routes(azure={"gpt-4o-mini": "gpt-4o"}))
    assert made.terms == TERMS
    assert made.price_version == "2026-01-01.aa"
    assert made.call.counting == TERMS.counting


@pytest.mark.parametrize(
    ("of", "to", "reason"),
    [
        (state(), routes(openai=["gpt-4o"]), Refusal.NO_TARGET),
        (state(endpoint=None), ANY, Refusal.NO_TARGET),
        (state(estimate=None), ANY, Refusal.NO_TARGET),
    ],
)
def test_what_cannot_be_sent_or_charged_is_refused(of: State, to: Routes, reason: Refusal) -> None:
    assert prepare(inner(of=of), to, TOKEN_KEY) is reason


EUROPE = Decision(id="d", revision="r", effect="flag", regions=("eu",))
PLACES = Routes(
    {
        "here": ProviderTarget(base_url="http://x/v1", models=["gpt-4o-mini"], region="us"),
        "there": ProviderTarget(base_url="http://x/v1", models={"gpt-4o-mini": "mini-eu"}, region="eu"),
        "other": ProviderTarget(base_url="http://x/v1", models=["gpt-4o"], region="us"),
    }
)


def test_a_job_goes_only_to_a_target_in_a_region_that_policy_allows() -> None:
    assert prepared(inner(), PLACES).target.name == "here"
    made = prepared(inner(of=state(decision=EUROPE)), PLACES)
    assert made.target.name == "there"
    assert orjson.loads(made.call.body)["model"] == "mini-eu"


@pytest.mark.parametrize(
    ("model", "to", "reason"),
    [
        ("gpt-4o", PLACES, Refusal.NO_TARGET_IN_REGION),
        ("gpt-4o-mini", ANY, Refusal.NO_TARGET_IN_REGION),
        ("gpt-none", PLACES, Refusal.NO_TARGET),
    ],
)
def test_without_a_target_in_an_allowed_region_it_is_sent_nowhere(
    model: str, to: Routes, reason: Refusal
) -> None:
    assert prepare(inner(of=state(decision=EUROPE, model=model)), to, TOKEN_KEY) is reason


# charges


def answer(usage: Usage | Disbelief) -> Answer:
    return Answer(200, b"{}", usage, "0" * 64, 77)


@given(st.integers(0, HOLD.input_tokens), st.integers(0, HOLD.output_tokens))
def test_an_answer_costs_its_usage_at_the_price(tokens_in: int, tokens_out: int) -> None:
    usage, made = Usage(input_tokens=tokens_in, output_tokens=tokens_out), prepared(inner())
    charge = answered_charge(state(attempt=2), made, answer(usage))
    rates = made.terms.rates
    exact = tokens_in * rates.input + tokens_out * rates.output
    assert charge.nanodollars * 10**6 - 10**6 < exact <= charge.nanodollars * 10**6
    assert (charge.verdict, charge.usage, charge.estimated) == ("answered", usage, False)
    assert (charge.attempt, charge.target, charge.latency_ms) == (2, "openai", 77)
    assert (charge.hold, charge.price_version) == (HOLD, "2026-01-01.aa")
    assert charge.reason is None


@pytest.mark.parametrize("disbelief", Disbelief)
def test_an_answer_without_a_usage_that_is_believed_costs_its_hold_and_says_why(disbelief: Disbelief) -> None:
    charge = answered_charge(state(), prepared(inner()), answer(disbelief))
    assert (charge.nanodollars, charge.estimated, charge.usage) == (HOLD.nanodollars, True, None)
    assert (charge.verdict, charge.reason) == ("answered", disbelief.value)


def test_a_usage_above_the_hold_is_not_believed() -> None:
    usage = Usage(input_tokens=HOLD.input_tokens + 1, output_tokens=0)
    charge = answered_charge(state(), prepared(inner()), answer(usage))
    assert (charge.nanodollars, charge.estimated, charge.usage) == (HOLD.nanodollars, True, None)
    assert charge.reason == "usage_above_hold"


def test_no_attempt_is_charged_without_a_hold() -> None:
    with pytest.raises(ValueError, match="hold"):
        answered_charge(state(hold=None), prepared(inner()), answer(Disbelief.USAGE_MISSING))


@given(st.sampled_from(Failure), st.booleans(), st.integers(0, 10**6))
def test_a_failure_costs_its_hold_where_the_work_may_be_done_and_else_nothing(
    failure: Failure, unknown: bool, latency_ms: int
) -> None:
    charge = failed_charge(state(attempt=3), HOLD, "openai", failure, unknown=unknown, latency_ms=latency_ms)
    assert charge.nanodollars == (HOLD.nanodollars if unknown else 0)
    assert (charge.verdict, charge.estimated) == (("unknown", True) if unknown else ("failed", False))
    assert (charge.attempt, charge.reason, charge.hold, charge.usage) == (3, failure.value, HOLD, None)
    assert (charge.target, charge.latency_ms) == ("openai", latency_ms)
    assert charge.price_version == "2026-01-01.aa"
