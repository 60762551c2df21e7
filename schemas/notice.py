"""What an organization is told, on the topic `events` and by its webhooks: of its budgets, and of jobs that
wait for a reviewer.
"""

from typing import Literal

from schemas.base import Extensible
from schemas.topics import Lane


class BudgetThreshold(Extensible):
    """So much of what a limit allows in one window is used: spent and held together."""

    organization: str
    subject: str
    """What the limit is set on: `acme`, `acme/search`, or `key 3f9a1c0b5d7e2468`."""
    limit: Literal["nanodollars_per_day", "nanodollars_per_month", "tokens_per_day", "tokens_per_month"]
    window: int
    """The day, counted from 1970-01-01, or the month, counted from January of year 0, by the organization's
    calendar.
    """
    percent: Literal[50, 80, 100]
    used: int
    cap: int


class Notice(Extensible):
    """The form of a body in Standard Webhooks. Its id is in the header `webhook-id`: the same notice may come
    twice.
    """

    type: Literal["budget.threshold"] = "budget.threshold"
    timestamp: str
    """ISO 8601, when the threshold was seen to be reached."""
    data: BudgetThreshold


class ReviewWaiting(Extensible):
    """A job that policy holds until a reviewer decides. No text of it is told."""

    review: str
    """Its id, as `headworks review` takes it."""
    organization: str
    project: str
    application: str
    job_id: str
    run: int
    lane: Lane
    rules: tuple[str, ...]
    """Ids of the rules that count in the decision."""
    deadline: str
    """ISO 8601: until then it waits, and expires if nobody has decided."""


class ReviewNotice(Extensible):
    """As `Notice`, of a job that came to review."""

    type: Literal["review.waiting"] = "review.waiting"
    timestamp: str
    """ISO 8601, since when the job waits."""
    data: ReviewWaiting
