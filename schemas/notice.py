"""What an organization is told of its budgets: on the topic `events`, and to its webhooks."""

from typing import Literal

from schemas.base import Extensible


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
