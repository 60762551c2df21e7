"""Tells organizations of jobs that wait for a reviewer, once each."""

import hashlib
from datetime import UTC, datetime
from typing import Final

from broker.store.notices import Notice, Notices
from broker.store.reviews import Review, Reviews
from schemas.notice import ReviewNotice, ReviewWaiting
from schemas.topics import Lane

_AT_ONCE: Final = 200


class ReviewNotices:
    """Every process with SETTLE looks; the store lets each notice be entered once."""

    def __init__(self, reviews: Reviews, notices: Notices) -> None:
        self._reviews = reviews
        self._notices = notices

    async def look(self) -> None:
        """Enter notices first and say so then: whoever dies in between enters the same again, which is
        nothing. Raises Unavailable.
        """
        while found := await self._reviews.untold(_AT_ONCE):
            await self._notices.enter([notice(review) for review in found])
            await self._reviews.told([review.row.key for review in found])
            if len(found) < _AT_ONCE:
                return


def notice(review: Review) -> Notice:
    """Pure."""
    row = review.row
    told = ReviewWaiting(
        review=row.id,
        organization=review.organization,
        project=review.project,
        application=review.application,
        job_id=str(row.job_id),
        run=row.run,
        lane=Lane(row.lane),
        rules=tuple(row.rules),
        deadline=_moment(row.deadline_ms),
    )
    body = ReviewNotice(timestamp=_moment(row.held_ms), data=told).model_dump(mode="json")
    return Notice(_id(row.id), row.organization_id, body)


def _id(review_id: str) -> str:
    return f"msg_{hashlib.sha256(f'review|{review_id}'.encode()).hexdigest()[:40]}"


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
