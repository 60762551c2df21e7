"""Every error that Headworks raises on purpose.

    HeadworksError
    ├── ConfigurationError        a setting, a file or a migration is wrong: an operator mends it
    │   ├── SettingsInvalid
    │   ├── SecretMissing
    │   ├── PriceBookInvalid
    │   ├── PolicyInvalid
    │   ├── DatabaseBehind
    │   ├── TopicsMissing
    │   ├── RedisUnfit
    │   ├── DlpRulesInvalid             (broker.policy.dlp.errors)
    │   ├── DetectorUnusable            (broker.plugins.errors)
    │   └── EmbeddedKafkaUnavailable    (broker.kafka.embedded)
    ├── Unavailable               a part is away: wait and try again   (retryable)
    │   ├── KafkaUnavailable
    │   ├── DatabaseUnavailable
    │   │   └── DatabaseDamaged
    │   ├── RedisUnavailable
    │   │   └── RedisDamaged
    │   ├── GateClosed
    │   ├── AppendTimeRequired
    │   ├── DirectoryBehind
    │   ├── LeaseLost
    │   ├── PositionMoved               (workers.settlements)
    │   └── ProviderUnreachable         (broker.ops.doctor)
    ├── NotBelieved               a record is not authentic, or its seal is broken
    ├── JobRefused                a job may not pass; carries a stable reason
    │   └── PolicyDenied                (broker.policy.decide)
    ├── NotFound                  an operator named something that is not there
    ├── Conflict                  an operator's change collides with what is there
    ├── RoleMissing               an operator lacks the role that an act takes
    ├── Oversized                 a record is larger than its topic takes
    ├── Fenced                    this process no longer owns what it wanted to write
    ├── TooMuchFound              more in one text than is worth telling apart  (broker.policy.dlp.errors)
    ├── TokenMapRefused                                                         (broker.policy.dlp.errors)
    │   ├── TokenMapTooLarge
    │   └── TokenMapUnreadable
    ├── DetectorFault             a plugged-in detector's look came to nothing  (broker.plugins.errors)
    │   ├── DetectorTimedOut
    │   ├── DetectorFailed
    │   ├── DetectorGarbage
    │   └── DetectorDied
    ├── StatementRefused          rows of a provider's statement are wrong      (broker.ops.reconciling)
    ├── RowInvalid                a labelled row is malformed                   (broker.policy.evaluation)
    ├── OutputUnfit               a file of `headworks run` cannot be gone on with   (headworks.batch.files)
    ├── NothingComesBack          `headworks run` has waited long enough             (headworks.batch.session)
    └── ClientError               a tree of its own                                  (headworks.client.errors)

Those in brackets stand with what raises them. Foreign errors are translated at the seam that meets them.
"""

from typing import ClassVar

from schemas.reasons import Refusal, Unauthentic


class HeadworksError(Exception):
    """Base of all. `code` is stable; the text says what to do and never holds a prompt or a secret."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False
    is_alarming: ClassVar[bool] = False
    """Time alone does not mend it, and no job has caused it: an operator must know."""


class ConfigurationError(HeadworksError):
    code = "configuration_error"


class SettingsInvalid(ConfigurationError):
    code = "settings_invalid"


class SecretMissing(ConfigurationError):
    code = "secret_missing"


class PriceBookInvalid(ConfigurationError):
    code = "price_book_invalid"


class PolicyInvalid(ConfigurationError):
    """A policy document is broken, and so is not used. `line` counts from 1; `rule` is the rule's id."""

    code = "policy_invalid"

    def __init__(self, reason: str, line: int | None = None, rule: str | None = None) -> None:
        place = [f"line {line}"] if line is not None else []
        place += [f"rule {rule}"] if rule is not None else []
        super().__init__(": ".join([", ".join(place), reason] if place else [reason]))
        self.reason = reason
        self.line = line
        self.rule = rule


class DatabaseBehind(ConfigurationError):
    code = "database_behind"


class TopicsMissing(ConfigurationError):
    code = "topics_missing"


class RedisUnfit(ConfigurationError):
    code = "redis_unfit"


class Unavailable(HeadworksError):
    code = "unavailable"
    retryable = True


class KafkaUnavailable(Unavailable):
    code = "kafka_unavailable"


class DatabaseUnavailable(Unavailable):
    code = "database_unavailable"


class DatabaseDamaged(DatabaseUnavailable):
    """It answers, with an error of its own: damaged data, or a fault in the server. Work waits."""

    code = "database_damaged"
    is_alarming = True


class RedisUnavailable(Unavailable):
    code = "redis_unavailable"


class RedisDamaged(RedisUnavailable):
    """Something else has written to the gate's keys: what they say is not believed. Work waits."""

    code = "redis_damaged"
    is_alarming = True


class GateClosed(Unavailable):
    """Redis lost or changed its counters; nothing passes until they are rebuilt from the ledger."""

    code = "gate_closed"


class AppendTimeRequired(Unavailable):
    """A `jobs.*` topic stamps the client's time; freshness cannot be judged until an operator mends it."""

    code = "append_time_required"


class DirectoryBehind(Unavailable):
    """A job's project was made a moment ago, and this process has not read it yet."""

    code = "directory_behind"


class LeaseLost(Unavailable):
    """This process was cut off past its lease: it starts nothing until it has joined anew."""

    code = "lease_lost"


class NotBelieved(HeadworksError):
    code = "not_believed"

    def __init__(self, reason: Unauthentic) -> None:
        super().__init__(reason.value)
        self.reason = reason


class JobRefused(HeadworksError):
    """A pure rule's verdict on a job. `message` goes to the job's owner: name parameters, never values."""

    code = "job_refused"

    def __init__(self, reason: Refusal, message: str, param: str | None = None) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason = reason
        self.message = message
        self.param = param


class NotFound(HeadworksError):
    code = "not_found"


class Conflict(HeadworksError):
    code = "conflict"


class RoleMissing(HeadworksError):
    code = "role_missing"


class Oversized(HeadworksError):
    code = "record_too_large"


class Fenced(HeadworksError):
    code = "fenced"
