"""Every rule on a job's own content, each with its stable reason; and whatever comes in, no other way out."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.admission import (
    DEADLINE_DEFAULT_MS,
    Admitted,
    Bounds,
    Sender,
    encoded,
    judge,
    read_envelope,
    read_reply_to,
)
from broker.errors import JobRefused
from broker.identity.directory import Project, ProjectSettings
from broker.policy.decide import Job, Judgement, Policy, PolicyDenied, Unrestricted
from broker.pricing.book import PriceBook
from broker.pricing.estimate import upper_bound
from broker.providers.routes import Routes
from broker.quota.budget import Budget
from broker.quota.limits import Limits
from broker.settings import ProviderTarget
from schemas.envelope import TTL_S_DEFAULT, TTL_S_MAX, RetryPolicy, Tags
from schemas.reasons import Refusal
from schemas.requests import FAULTS_MAX
from schemas.state import Decision
from schemas.topics import ReplyTo

BOOK = PriceBook.load()
BOUNDS = Bounds(request_bytes_max=10_000, depth_max=16)
BOUNDED, UNBOUNDED, EMBEDDER = "gpt-4o-mini", "mistral-medium-latest", "text-embedding-3-small"
NOWHERE = Routes({})
SECRET = "sesame-open-1701"
CHAT = {"model": BOUNDED, "messages": [{"role": "user", "content": SECRET}]}


class Denying:
    def judge(self, job: Job) -> Judgement:
        return Judgement(Decision(id="d-7", revision="r", effect="deny"), rule="no-canals")


def envelope(request: Any = None, **fields: Any) -> bytes:
    known = {
        "version": 1,
        "endpoint": "/v1/chat/completions",
        "request": CHAT if request is None else request,
    }
    return orjson.dumps(known | fields)


def sender(project: Project, budget: Budget) -> Sender:
    return Sender("acme", project, budget, "shop", "standard", "11" * 32)


def judged(value: bytes, policy: Policy | None = None, routes: Routes = NOWHERE, **settings: Any) -> Admitted:
    project = Project(3, 2, "p", ProjectSettings(**settings))
    budget = Budget(project.organization_id, project.id, "k", project=project.settings)
    return judge(value, sender(project, budget), BOOK, policy or Unrestricted(), BOUNDS, routes)


def refused(
    value: bytes, policy: Policy | None = None, routes: Routes = NOWHERE, **settings: Any
) -> JobRefused:
    with pytest.raises(JobRefused) as caught:
        judged(value, policy, routes, **settings)
    return caught.value


def deep(levels: int) -> Any:
    node: Any = []
    for _ in range(levels - 1):
        node = [node]
    return node


# what passes


def test_a_job_in_good_order_passes_with_its_bound_and_its_decision() -> None:
    job = judged(envelope(tags={"department": "canals"}, retry={"attempts_max": 2}), nanodollars_per_day=1)
    bound = upper_bound("/v1/chat/completions", CHAT, BOOK.price(BOUNDED), 1_024)
    assert job.model == BOUNDED
    assert job.estimate.nanodollars == bound.nanodollars_max > 0
    assert (job.estimate.input_tokens, job.estimate.output_tokens) == (bound.input_tokens_max, 1_024)
    assert job.estimate.price_version == BOOK.version
    assert job.overrides == bound.overrides
    assert job.decision == Decision(id="unrestricted", revision="unrestricted", effect="allow")
    assert (job.envelope.tags, job.envelope.retry) == (Tags(department="canals"), RetryPolicy(attempts_max=2))
    assert job.ttl_s == TTL_S_DEFAULT == DEADLINE_DEFAULT_MS // 1000


def test_embeddings_pass_by_their_own_endpoint() -> None:
    job = judged(envelope({"model": EMBEDDER, "input": "a weir"}, endpoint="/v1/embeddings"))
    assert (job.model, job.estimate.output_tokens, job.overrides) == (EMBEDDER, 0, {})


def test_the_project_s_output_limit_is_put_where_the_request_sets_none() -> None:
    job = judged(envelope(), output_tokens_default=77)
    assert job.estimate.output_tokens == 77
    assert 77 in job.overrides.values()
    own = judged(envelope(CHAT | {"max_completion_tokens": 5}), output_tokens_default=77)
    assert own.estimate.output_tokens == 5


@given(st.integers(1, TTL_S_MAX), st.integers(1, TTL_S_MAX))
def test_a_job_lives_no_longer_than_it_asks_and_its_project_allows(asked_s: int, allowed_s: int) -> None:
    assert judged(envelope(ttl_s=asked_s), ttl_s_max=allowed_s).ttl_s == min(asked_s, allowed_s)


def test_a_model_without_a_bound_passes_where_there_is_no_budget() -> None:
    assert judged(envelope(CHAT | {"model": UNBOUNDED})).estimate.nanodollars > 0


def test_a_model_that_its_window_alone_bounds_holds_all_of_it_where_there_is_a_budget() -> None:
    value = envelope(CHAT | {"model": "claude-haiku-4-5"})
    assert judged(value, nanodollars_per_day=10**12).estimate.input_tokens == 200_000
    assert judged(value).estimate.input_tokens < 2_000


# what does not


@pytest.mark.parametrize("value", [b"", b"{", b"\xff", b"nan", b'{"version":1}x', b'{"a":"\\ud800"}'])
def test_what_is_no_json_is_refused(value: bytes) -> None:
    assert refused(value).reason is Refusal.INVALID_JSON


def test_size_is_measured_before_anything_is_parsed() -> None:
    assert refused(b"{" * (BOUNDS.request_bytes_max + 1)).reason is Refusal.BODY_TOO_LARGE
    padded = envelope() + b" " * (BOUNDS.request_bytes_max - len(envelope()))
    assert judged(padded).model == BOUNDED
    assert refused(padded + b" ").reason is Refusal.BODY_TOO_LARGE


def test_nesting_is_bounded_before_anything_is_read() -> None:
    levels = BOUNDS.depth_max
    assert refused(orjson.dumps(deep(levels))).reason is Refusal.INVALID_ENVELOPE
    assert refused(orjson.dumps(deep(levels + 1))).reason is Refusal.TOO_DEEP


@pytest.mark.parametrize(
    ("value", "param"),
    [
        (b"[]", None),
        (b"1", None),
        (b"null", None),
        (envelope(version=2), "version"),
        (orjson.dumps({"version": 1, "endpoint": "/v1/embeddings"}), "request"),
        (orjson.dumps({"version": 1, "request": {}}), "endpoint"),
        (envelope([]), "request"),
        (envelope(priority=1), "priority"),
        (envelope(**{"x y": 1}), None),
        (envelope(tags={"user": ""}), "tags.user"),
        (envelope(tags={"user": "a\nb"}), "tags.user"),
        (envelope(ttl_s=0), "ttl_s"),
        (envelope(ttl_s=TTL_S_MAX + 1), "ttl_s"),
        (envelope(ttl_s="3600"), "ttl_s"),
        (envelope(ttl_s=3600.0), "ttl_s"),
        (envelope(retry={"at_most_once": "yes"}), "retry.at_most_once"),
        (envelope(**{f"field{n}": n for n in range(FAULTS_MAX + 1)}), None),
        (envelope(retry={"attempts_max": 11}), "retry.attempts_max"),
    ],
)
def test_an_envelope_is_refused_by_the_name_of_its_field(value: bytes, param: str | None) -> None:
    error = refused(value)
    assert (error.reason, error.param) == (Refusal.INVALID_ENVELOPE, param)


@pytest.mark.parametrize("level", ["organization", "project", "key"])
@pytest.mark.parametrize("limit", ["nanodollars_per_month", "tokens_per_day"])
def test_a_model_without_a_bound_is_refused_under_a_hard_budget_of_any_level(level: str, limit: str) -> None:
    value, project = envelope(CHAT | {"model": UNBOUNDED}), Project(3, 2, "p", ProjectSettings())
    judge(value, sender(project, Budget(2, 3, "k")), BOOK, Unrestricted(), BOUNDS, NOWHERE)
    hard = Budget(2, 3, "k", **{level: Limits.model_validate({limit: 10**15})})
    with pytest.raises(JobRefused) as caught:
        judge(value, sender(project, hard), BOOK, Unrestricted(), BOUNDS, NOWHERE)
    assert caught.value.reason is Refusal.UNBOUNDED_MODEL


@pytest.mark.parametrize(
    ("value", "settings", "reason", "param"),
    [
        (envelope(endpoint="/v1/images"), {}, Refusal.UNSUPPORTED_ENDPOINT, "endpoint"),
        (envelope(CHAT | {"temperature": "hot"}), {}, Refusal.INVALID_REQUEST, "temperature"),
        (envelope(CHAT | {"web_search_options": {}}), {}, Refusal.UNPRICED_PARAMETER, "web_search_options"),
        (envelope(CHAT | {"model": "gpt-none"}), {}, Refusal.UNKNOWN_MODEL, "model"),
        (envelope(), {"models_allowed": ()}, Refusal.MODEL_NOT_ALLOWED, "model"),
        (envelope(), {"models_allowed": ("gpt-4o",)}, Refusal.MODEL_NOT_ALLOWED, "model"),
        (
            envelope(CHAT | {"model": UNBOUNDED}),
            {"nanodollars_per_day": 10**15},
            Refusal.UNBOUNDED_MODEL,
            "model",
        ),
        (envelope(CHAT | {"model": EMBEDDER}), {}, Refusal.UNSUPPORTED_ENDPOINT, "model"),
    ],
)
def test_a_request_is_refused_by_the_name_of_its_parameter(
    value: bytes, settings: dict[str, Any], reason: Refusal, param: str
) -> None:
    error = refused(value, **settings)
    assert (error.reason, error.param) == (reason, param)


def test_a_model_that_is_not_allowed_is_told_apart_from_one_that_is_unknown() -> None:
    value = envelope(CHAT | {"model": "gpt-none"})
    assert refused(value, models_allowed=("gpt-4o",)).reason is Refusal.MODEL_NOT_ALLOWED
    assert refused(value, models_allowed=("gpt-none",)).reason is Refusal.UNKNOWN_MODEL


def test_policy_is_asked_of_what_may_pass_otherwise_and_its_decision_is_named() -> None:
    error = refused(envelope(), Denying())
    assert error.reason is Refusal.POLICY_DENIED
    assert error.message == "decision d-7, rule no-canals"
    assert refused(envelope(CHAT | {"model": "gpt-none"}), Denying()).reason is Refusal.UNKNOWN_MODEL


class Asking:
    """Keeps what it is asked, and answers always the same."""

    def __init__(self, judgement: Judgement | None) -> None:
        self.asked: list[Job] = []
        self._judgement = judgement

    def judge(self, job: Job) -> Judgement | None:
        self.asked.append(job)
        return self._judgement


def allowing(effect: Any = "allow", **fields: Any) -> Judgement:
    return Judgement(Decision(id="d-8", revision="r", effect=effect), **fields)


def test_policy_is_told_whose_job_it_is_and_by_which_digest_it_is_known() -> None:
    policy = Asking(allowing())
    job = judged(envelope(), policy)
    [asked] = policy.asked
    assert asked == Job("acme", 3, "p", "shop", "standard", job.envelope, "11" * 32)
    assert (job.decision.id, job.judgement, job.rewritten) == ("d-8", allowing(), None)


def test_a_rule_that_failed_refuses_by_a_reason_of_its_own() -> None:
    error = refused(envelope(), Asking(allowing("deny", rule="hot", failed=True)))
    assert isinstance(error, PolicyDenied)
    assert (error.reason, error.message) == (Refusal.POLICY_ERROR, "decision d-8, rule hot")


def serving(**regions: str) -> Routes:
    """Targets for the model, by their regions."""
    return Routes(
        {
            name: ProviderTarget(base_url="http://x/v1", models=[BOUNDED], region=region)
            for name, region in regions.items()
        }
    )


def test_policy_is_told_where_the_targets_are_and_says_where_the_job_may_go() -> None:
    policy = Asking(Judgement(Decision(id="d-8", revision="r", effect="flag", regions=("eu",))))
    assert judged(envelope(), policy, serving(a="us", b="eu")).decision.regions == ("eu",)
    assert policy.asked[0].regions == ("eu", "us")
    error = refused(envelope(), policy, serving(a="us"))
    assert isinstance(error, PolicyDenied)
    assert (error.reason, error.message) == (Refusal.NO_TARGET_IN_REGION, "decision d-8")
    assert judged(envelope(), policy, NOWHERE).decision.regions == ("eu",)


def test_what_policy_took_out_is_neither_sent_nor_reckoned() -> None:
    tokens = {"[EMAIL_1]": "joe@example.com"}
    other = CHAT | {"messages": [{"role": "user", "content": "[EMAIL_1] " * 99}]}
    value = envelope(tags={"user": "ada"}, ttl_s=60)
    job = judged(value, Asking(allowing("redact", request=other, tokens=tokens)))
    bound = upper_bound("/v1/chat/completions", other, BOOK.price(BOUNDED), 1_024)
    assert job.estimate.nanodollars == bound.nanodollars_max > judged(value).estimate.nanodollars
    assert job.rewritten is not None
    assert read_envelope(job.rewritten, BOUNDS) == read_envelope(value, BOUNDS).model_copy(
        update={"request": other}
    )
    assert job.tokens == tokens


@given(st.integers(1, TTL_S_MAX), st.booleans())
def test_an_envelope_that_is_encoded_again_is_the_same(ttl_s: int, once: bool) -> None:
    read = read_envelope(envelope(ttl_s=ttl_s, retry={"at_most_once": once}), BOUNDS)
    assert read_envelope(encoded(read), BOUNDS) == read


# whatever comes


def verdict_on(value: bytes) -> Admitted | JobRefused:
    try:
        return judged(value, nanodollars_per_day=10**12)
    except JobRefused as error:
        return error


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["version", "endpoint", "request", "tags", "ttl_s", "retry"]
REQUEST_FIELDS = ["model", "messages", "max_tokens", "n", "tools", "response_format", "stop", "logit_bias"]


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused_and_break_nothing(value: bytes) -> None:
    assert isinstance(verdict_on(value), JobRefused)


@given(st.dictionaries(st.sampled_from(FIELDS), json_values), st.booleans())
def test_an_envelope_with_anything_in_its_fields_breaks_nothing(fields: Any, whole: bool) -> None:
    base = orjson.loads(envelope()) if whole else {}
    assert isinstance(verdict_on(orjson.dumps(base | fields)), JobRefused | Admitted)


@given(st.dictionaries(st.sampled_from(REQUEST_FIELDS) | st.text(max_size=9), json_values, max_size=4))
def test_a_request_with_anything_in_its_fields_breaks_nothing(fields: Any) -> None:
    verdict = verdict_on(envelope(CHAT | fields))
    if isinstance(verdict, Admitted):
        assert 0 < verdict.estimate.nanodollars < 2**53


faults = st.sampled_from(
    [
        {"temperature": SECRET},
        {"max_tokens": SECRET},
        {"response_format": {"type": SECRET}},
        {"model": SECRET},
        {"messages": [{"role": SECRET, "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": SECRET}]}]},
        {"n": -1},
    ]
)


@given(faults)
def test_no_refusal_quotes_what_was_sent(fault: Any) -> None:
    error = refused(envelope(CHAT | fault), models_allowed=(BOUNDED,))
    assert SECRET not in f"{error} {error.message} {error.param}"


@pytest.mark.parametrize(
    "field", [{"ttl_s": SECRET}, {"tags": {"user": f"{SECRET}\n"}}, {"endpoint": SECRET}]
)
def test_no_fault_of_an_envelope_quotes_it(field: Any) -> None:
    error = refused(envelope(**field))
    assert SECRET not in f"{error} {error.message} {error.param}"


# reading


def test_an_envelope_is_read_as_it_was_written() -> None:
    read = read_envelope(envelope(ttl_s=60), BOUNDS)
    assert (read.version, read.endpoint, read.request, read.ttl_s) == (1, "/v1/chat/completions", CHAT, 60)


names = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(
    names,
    st.none() | st.integers(0, 999_999),
    st.none() | st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
)
def test_replies_go_to_an_application_s_own_topics_alone(
    name: str, partition: int | None, instance: str | None
) -> None:
    own = ReplyTo(f"replies.{name}", partition, None if partition is None else instance)
    assert read_reply_to(str(own), name) == own
    named = own._replace(topic=f"replies.{name}.batch")
    assert read_reply_to(str(named), name) == named
    for foreign in (
        f"{own.topic}x",
        f"{own.topic}-x",
        f"replies.x{name}",
        "replies.",
        f"jobs.{name}",
        "dead",
    ):
        with pytest.raises(JobRefused) as caught:
            read_reply_to(str(own._replace(topic=foreign)), name)
        assert (caught.value.reason, caught.value.param) == (Refusal.REPLY_TO_FOREIGN, "reply_to")


def test_no_address_is_no_reply() -> None:
    assert read_reply_to("", "shop") is None


@pytest.mark.parametrize(
    "text", ["replies.shop/", "replies.shop/x", "replies.shop/-1", "replies.shop/1/", "a b", "é", "a/1/b/c"]
)
def test_a_malformed_address_is_told_as_such(text: str) -> None:
    with pytest.raises(JobRefused) as caught:
        read_reply_to(text, "shop")
    assert (caught.value.reason, caught.value.param) == (Refusal.REPLY_TO_INVALID, "reply_to")


def address_of(text: str) -> ReplyTo | Refusal | None:
    try:
        return read_reply_to(text, "shop")
    except JobRefused as error:
        return error.reason


@given(st.text() | st.from_regex(r"replies\.[shop.]*(/[0-9a-z]*)*", fullmatch=True))
def test_whatever_stands_for_an_address_is_read_or_refused(text: str) -> None:
    found = address_of(text)
    if isinstance(found, ReplyTo):
        assert found.belongs_to("shop")
    else:
        assert found in (None, Refusal.REPLY_TO_INVALID, Refusal.REPLY_TO_FOREIGN)
        assert (found is None) == (text == "")
