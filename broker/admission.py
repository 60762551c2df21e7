"""May this job pass, and what can it cost at most? Pure: facts in, a verdict out."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from pydantic import ValidationError

from broker.errors import JobRefused
from broker.identity.directory import Project
from broker.policy.decide import UNRESTRICTED, Job, Judgement, Policy, PolicyDenied
from broker.pricing.book import PriceBook
from broker.pricing.estimate import upper_bound
from broker.providers.routes import Routes
from broker.quota.budget import Budget
from schemas.depth import depth_within
from schemas.envelope import TTL_S_DEFAULT, Envelope
from schemas.reasons import Refusal
from schemas.requests import FAULTS_MAX, RequestRefused, validate_request
from schemas.state import Decision, Estimate, Overrides
from schemas.topics import ReplyTo


class Bounds(NamedTuple):
    request_bytes_max: int
    depth_max: int


class Sender(NamedTuple):
    """Whose job it is. `value_sha256`: of the value, in hexadecimal."""

    organization: str
    project: Project
    budget: Budget
    application: str
    lane: str
    value_sha256: str


class Admitted(NamedTuple):
    envelope: Envelope
    model: str
    estimate: Estimate
    overrides: Overrides
    decision: Decision
    ttl_s: int
    judgement: Judgement | None = None
    """None where no policy is active."""
    rewritten: bytes | None = None
    """The value that goes on in place of the application's, where policy took something out of it."""

    @property
    def tokens(self) -> Mapping[str, str]:
        """What is to be put back into the answer, by placeholder."""
        return {} if self.judgement is None else self.judgement.tokens


def judge(
    value: bytes, sender: Sender, book: PriceBook, policy: Policy, bounds: Bounds, routes: Routes
) -> Admitted:
    """Every rule on a job's own content. Raises JobRefused with the first that it breaks; PolicyDenied, which
    is one, where policy does not let it pass, or lets it go only where no target serves its model.
    """
    envelope = read_envelope(value, bounds)
    try:
        model = validate_request(envelope.endpoint, envelope.request)
    except RequestRefused as refused:
        raise JobRefused(refused.code, refused.message, refused.param) from None
    settings = sender.project.settings
    if settings.models_allowed is not None and model not in settings.models_allowed:
        raise JobRefused(Refusal.MODEL_NOT_ALLOWED, "the project does not allow this model", "model")
    priced = _estimate(envelope, model, sender, book)
    ttl_s = min(envelope.ttl_s, settings.ttl_s_max)
    judgement = policy.judge(_job(envelope, sender, routes.regions(model)))
    if judgement is None:
        return Admitted(envelope, model, *priced, UNRESTRICTED, ttl_s)
    if judgement.decision.effect == "deny":
        raise PolicyDenied(judgement)
    if _is_out_of_reach(model, judgement.decision.regions, routes):
        raise PolicyDenied(judgement, Refusal.NO_TARGET_IN_REGION)
    if judgement.uncheckable is not None:
        raise JobRefused(Refusal.ANSWER_SCHEMA_UNCHECKABLE, *judgement.uncheckable)
    if judgement.request is None:
        return Admitted(envelope, model, *priced, judgement.decision, ttl_s, judgement)
    other = envelope.model_copy(update={"request": judgement.request})
    priced = _estimate(other, model, sender, book)  # a placeholder may be longer than what it stands for
    return Admitted(other, model, *priced, judgement.decision, ttl_s, judgement, encoded(other))


def _is_out_of_reach(model: str, regions: tuple[str, ...] | None, routes: Routes) -> bool:
    """Where this process knows targets for the model at all; else it is for DISPATCH to say."""
    if regions is None or routes.target(model) is None:
        return False
    return routes.target(model, regions) is None


def _job(envelope: Envelope, sender: Sender, regions: tuple[str, ...]) -> Job:
    return Job(
        organization=sender.organization,
        project_id=sender.project.id,
        project=sender.project.name,
        application=sender.application,
        lane=sender.lane,
        envelope=envelope,
        value_sha256=sender.value_sha256,
        regions=regions,
    )


def encoded(envelope: Envelope) -> bytes:
    """As the value of a record; what is left at its default is left out."""
    rest = envelope.model_dump(mode="json", exclude={"request"}, exclude_defaults=True)
    return orjson.dumps(rest | {"request": envelope.request})


def read_envelope(value: bytes, bounds: Bounds) -> Envelope:
    if len(value) > bounds.request_bytes_max:
        raise JobRefused(
            Refusal.BODY_TOO_LARGE, f"an envelope may have {bounds.request_bytes_max} bytes at most"
        )
    parsed = _parse(value, bounds)
    try:
        return Envelope.model_validate(parsed, strict=True)
    except ValidationError as error:
        raise JobRefused(*_envelope_fault(error)) from None


def _parse(value: bytes, bounds: Bounds) -> Any:
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError:
        raise JobRefused(Refusal.INVALID_JSON, "the value is not JSON (RFC 8259)") from None
    if not depth_within(parsed, bounds.depth_max):
        raise JobRefused(Refusal.TOO_DEEP, f"JSON may nest {bounds.depth_max} levels at most")
    return parsed


def _envelope_fault(error: ValidationError) -> tuple[Refusal, str, str | None]:
    if error.error_count() > FAULTS_MAX:
        return Refusal.INVALID_ENVELOPE, f"has more than {FAULTS_MAX} faults", None
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    loc = fault["loc"]
    if loc == ("endpoint",) and fault["type"] == "literal_error":
        return Refusal.UNSUPPORTED_ENDPOINT, fault["msg"], "endpoint"
    known = [str(part) for part in loc if str(part).isidentifier()][:4]
    return Refusal.INVALID_ENVELOPE, fault["msg"][:200], ".".join(known)[:64] or None


def _estimate(envelope: Envelope, model: str, sender: Sender, book: PriceBook) -> tuple[Estimate, Overrides]:
    settings, price = sender.project.settings, book.price(model)
    bound = upper_bound(
        envelope.endpoint,
        envelope.request,
        price,
        settings.output_tokens_default,
        hard=sender.budget.is_hard,
        counter=book.counter(price),
    )
    estimate = Estimate(
        nanodollars=bound.nanodollars_max,
        input_tokens=bound.input_tokens_max,
        output_tokens=bound.output_tokens_max,
        price_version=book.version,
        terms=price.packed_terms,
    )
    return estimate, bound.overrides


def read_reply_to(text: str, application: str) -> ReplyTo | None:
    """Raises JobRefused where it is malformed or lies outside the application's own namespace."""
    if not text:
        return None
    try:
        reply_to = ReplyTo.parse(text)
    except ValueError as error:
        raise JobRefused(Refusal.REPLY_TO_INVALID, str(error), "reply_to") from None
    if not reply_to.belongs_to(application):
        raise JobRefused(Refusal.REPLY_TO_FOREIGN, "replies go to the application's own topics", "reply_to")
    return reply_to


DEADLINE_DEFAULT_MS = TTL_S_DEFAULT * 1000
