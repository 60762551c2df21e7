"""The stable codes of refusals and failures. A code is never renamed; its wording may be."""

from enum import StrEnum


class Unauthentic(StrEnum):
    """Why a record of `jobs.*` is not believed. Such a record gets no reply: a counter and a dead letter."""

    HEADER_MISSING = "header_missing"
    HEADER_INVALID = "header_invalid"
    HEADER_DUPLICATE = "header_duplicate"
    HEADERS_TOO_MANY = "headers_too_many"
    UNSUPPORTED_VERSION = "unsupported_version"
    UNKNOWN_KEY = "unknown_key"
    KEY_REVOKED = "key_revoked"
    BAD_SIGNATURE = "bad_signature"
    STALE = "stale"
    FROM_THE_FUTURE = "from_the_future"
    UNKNOWN_LANE = "unknown_lane"
    FOREIGN_TOPIC = "foreign_topic"
    UNDECODABLE = "undecodable"
    FORGED = "forged"
    """An inner record whose seal does not verify."""


class Refusal(StrEnum):
    """Why an authentic job is answered with a refusal."""

    INVALID_JSON = "invalid_json"
    INVALID_ENVELOPE = "invalid_envelope"
    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED_ENDPOINT = "unsupported_endpoint"
    UNPRICED_PARAMETER = "unpriced_parameter"
    UNPRICED_CONTENT = "unpriced_content"
    TOO_DEEP = "too_deep"
    BODY_TOO_LARGE = "body_too_large"
    REPLY_TO_INVALID = "reply_to_invalid"
    REPLY_TO_FOREIGN = "reply_to_foreign"
    REPLY_UNDELIVERABLE = "reply_undeliverable"
    JOB_ID_CONFLICT = "job_id_conflict"
    UNKNOWN_MODEL = "unknown_model"
    UNBOUNDED_MODEL = "unbounded_model"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    POLICY_DENIED = "policy_denied"
    POLICY_ERROR = "policy_error"
    POLICY_TOKENS_TOO_LARGE = "policy_tokens_too_large"
    """More data would be replaced by tokens than a job can carry along."""
    REVIEW_DENIED = "review_denied"
    """Policy held it for review, and a reviewer did not let it pass."""
    ANSWER_REFUSED = "answer_refused"
    """An answer came and was paid for, and policy withholds it."""
    ANSWER_SCHEMA_UNCHECKABLE = "answer_schema_uncheckable"
    """Policy demands that the answer fits its schema, which cannot be checked in bounded time."""
    OVER_QUOTA = "over_quota"
    """The job can never fit its budget, or not before its deadline."""
    DEADLINE_UNREACHABLE = "deadline_unreachable"
    """By the target's latency of late the job cannot be done before its deadline."""
    NO_TARGET = "no_target"
    """No provider target serves the model."""
    NO_TARGET_IN_REGION = "no_target_in_region"
    """Targets serve the model, and none of them in a region that policy allows."""
    PROVIDER_REFUSED = "provider_refused"
    """The provider answered with a client error; sending it again would not help."""
    PROVIDER_AUTHENTICATION = "provider_authentication"


class Failure(StrEnum):
    """Why one attempt failed; retried until attempts are used up, then the job is dead."""

    RATE_LIMITED = "rate_limited"
    PROVIDER_ERROR = "provider_error"
    """The provider answered 5xx."""
    CONNECT_FAILED = "connect_failed"
    """Nothing was sent."""
    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"
    BROKEN_ANSWER = "broken_answer"
    ANSWER_TOO_LARGE = "answer_too_large"
    WORKER_LOST = "worker_lost"
    """The worker that made the call died, or was cut off past its lease, before its outcome was recorded."""
    HOLD_LAPSED = "hold_lapsed"
    """The hold had expired before the call; nothing was sent, and no attempt of the job's is used up."""
    DEADLINE_PASSED = "deadline_passed"
    """It passed before the call; nothing was sent."""
    CANCELLED = "cancelled"
    """The job was called off: before the call, or while it ran, which was then cut off."""
    INTERNAL_ERROR = "internal_error"


class Notice(StrEnum):
    """Codes that a reply may carry beside its status."""

    RESULT_EXPIRED = "result_expired"
    """The answer was given and is no longer retained; digest and cost are on record."""
    OUTCOME_UNKNOWN = "outcome_unknown"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Disbelief(StrEnum):
    """Why the usage that a provider reported is not what was charged: the hold was, marked as estimated."""

    USAGE_MISSING = "usage_missing"
    USAGE_INVALID = "usage_invalid"
    """Not counts: no integers, negative, or more than can be."""
    USAGE_CONTRADICTORY = "usage_contradictory"
    """Its numbers do not add up in the way that the model's price says its provider counts."""
    USAGE_ABOVE_HOLD = "usage_above_hold"
    """More than the request could use or cost, by the bound that its hold was made for."""
    SERVICE_TIER_UNPRICED = "service_tier_unpriced"
    """Served in a tier of service for which the model has no price."""
