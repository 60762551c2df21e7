"""The events that processes log: a stable name each, and its wording for people. A name is never changed."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Event(StrEnum):
    """What happened. The fields beside it say where; none holds a prompt, an answer or a secret."""

    WORKER_STARTED = "worker_started"
    WORKER_STOPPED = "worker_stopped"
    WORKER_FAILED = "worker_failed"
    ALARM = "alarm"
    TROUBLE = "trouble"
    PRODUCER_REPLACED = "producer_replaced"
    RECORDS_GIVEN_UP = "records_given_up"
    CHARGE_ESTIMATED = "charge.estimated"
    NOTICE_UNDELIVERED = "notice.undelivered"
    TARGET_LIMITED = "target.limited"
    TARGET_CLOSED = "target.closed"
    TARGET_RECOVERED = "target.recovered"
    DIRECTORY_AVAILABLE = "directory.available"
    DIRECTORY_UNAVAILABLE = "directory.unavailable"
    DIRECTORY_REFRESHED = "directory.refreshed"
    DIRECTORY_ENTRY_UNREADABLE = "directory.entry_unreadable"
    POLICY_ADOPTED = "policy.adopted"
    POLICY_NOT_COMPILED = "policy.not_compiled"
    DETECTOR_READY = "detector.ready"
    DETECTOR_FAULT = "detector.fault"


WORDINGS: Final[Mapping[str, str]] = {
    Event.WORKER_STARTED: "Worker started; it takes jobs",
    Event.WORKER_STOPPED: "Worker stopped",
    Event.WORKER_FAILED: "Worker cannot go on",
    Event.ALARM: "ALARM: this must not happen; look into it",
    Event.TROUBLE: "Trouble; jobs wait and it is tried again",
    Event.PRODUCER_REPLACED: "Kafka let the producer go on no more; another takes its place",
    Event.RECORDS_GIVEN_UP: "Some records were not acknowledged by the end; their cause comes again",
    Event.CHARGE_ESTIMATED: "A provider's report of what it used is not believed; the hold is charged",
    Event.NOTICE_UNDELIVERED: "A webhook did not take a notice",
    Event.TARGET_LIMITED: "A provider is in trouble; fewer calls go to it",
    Event.TARGET_CLOSED: "A provider asks for a rest; no calls go to it meanwhile",
    Event.TARGET_RECOVERED: "A provider takes all calls again",
    Event.DIRECTORY_AVAILABLE: "Applications and keys can be read again",
    Event.DIRECTORY_UNAVAILABLE: "Applications and keys cannot be read now; the last known ones hold",
    Event.DIRECTORY_REFRESHED: "Applications and keys read anew",
    Event.DIRECTORY_ENTRY_UNREADABLE: "A key or a project's settings cannot be read",
    Event.POLICY_ADOPTED: "What operators activated decides from now on",
    Event.POLICY_NOT_COMPILED: "ALARM: a policy cannot be compiled here; the last good one goes on deciding",
    Event.DETECTOR_READY: "A plugged-in detector looks at jobs",
    Event.DETECTOR_FAULT: "A plugged-in detector fails; jobs go on, and are not looked at by it",
}
