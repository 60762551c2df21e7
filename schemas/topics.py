"""The names of lanes, topics and places in them. A topic stands only where a crash must be survived."""

import re
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Self

APPLICATION_PATTERN = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
"""An application's name: lower-case letters, digits and inner hyphens, 1 to 63 (as a DNS label, RFC 1123)."""


class Lane(StrEnum):
    """Quality of service, best first."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BULK = "bulk"


class RetryDelay(StrEnum):
    """The tiers of backoff; one topic each."""

    SECOND = "1s"
    FIVE_SECONDS = "5s"
    HALF_MINUTE = "30s"
    TWO_MINUTES = "2m"
    TEN_MINUTES = "10m"

    @property
    def ms(self) -> int:
        """The tier's longest wait, in milliseconds."""
        return {"1s": 1_000, "5s": 5_000, "30s": 30_000, "2m": 120_000, "10m": 600_000}[self.value]


DEAD = "dead"
PARKED = "parked"
EVENTS = "events"
"""What organizations are told, for whoever wants to follow; keyed by organization."""


def jobs(lane: Lane, application: str | None = None) -> str:
    """Where applications publish: the shared topic of a lane, or an application's own."""
    return f"jobs.{lane.value}" if application is None else f"jobs.{lane.value}.{application}"


def jobs_pattern(lane: Lane) -> str:
    """A regular expression for the shared topic of a lane and every application's own."""
    return rf"^jobs\.{lane.value}(\.[a-z0-9][a-z0-9-]*)?$"


def admitted(lane: Lane) -> str:
    return f"admitted.{lane.value}"


def reserved(lane: Lane) -> str:
    return f"reserved.{lane.value}"


def outcomes(lane: Lane) -> str:
    return f"outcomes.{lane.value}"


def retry(delay: RetryDelay) -> str:
    return f"retry.{delay.value}"


def replies(application: str) -> str:
    """The application's own namespace for replies: this topic, and any `replies.<application>.<name>`."""
    return f"replies.{application}"


_JOBS = re.compile(rf"jobs\.(?P<lane>[a-z]+)(?:\.(?P<application>{APPLICATION_PATTERN}))?")


class JobsTopic(NamedTuple):
    lane: Lane
    application: str | None


@lru_cache(1_024)
def parse_jobs(topic: str) -> JobsTopic:
    """Take a `jobs.*` topic's name apart.

    Raises ValueError where the name is none of ours or the lane is unknown.
    """
    match = _JOBS.fullmatch(topic)
    if match is None:
        raise ValueError(f"not a jobs topic: {topic[:80]!r}")
    return JobsTopic(Lane(match["lane"]), match["application"])


class Coordinate(NamedTuple):
    """One record's place in Kafka; written `topic/partition/offset`."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError on anything that is not `topic/partition/offset`."""
        topic, partition, offset = text.rsplit("/", 2)
        return cls(topic, int(partition), int(offset))


_REPLY_TO = re.compile(
    r"(?P<topic>[A-Za-z0-9._-]{1,249})(?:/(?P<partition>[0-9]{1,6})(?:/(?P<instance>[A-Za-z0-9._-]{1,64}))?)?"
)


class ReplyTo(NamedTuple):
    """Where a reply goes: `topic`, `topic/partition` or `topic/partition/instance`.

    Without a partition the reply's partition follows from the job id. The instance is echoed, so that a
    client tells its own replies from its neighbours' without opening them.
    """

    topic: str
    partition: int | None = None
    instance: str | None = None

    def __str__(self) -> str:
        parts = [self.topic]
        if self.partition is not None:
            parts.append(str(self.partition))
            if self.instance is not None:
                parts.append(self.instance)
        return "/".join(parts)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError on another form than the three."""
        match = _REPLY_TO.fullmatch(text)
        if match is None:
            raise ValueError("reply_to is topic, topic/partition or topic/partition/instance")
        partition = match["partition"]
        return cls(match["topic"], None if partition is None else int(partition), match["instance"])

    def belongs_to(self, application: str) -> bool:
        """Whether it lies in the application's own namespace."""
        own = replies(application)
        return self.topic == own or self.topic.startswith(own + ".")
