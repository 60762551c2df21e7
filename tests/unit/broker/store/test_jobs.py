"""What a job is beside the one that stands in the register."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from broker.store.jobs import JobRow, Seen, judge

PLACES = st.sampled_from(["jobs.bulk/0/1", "jobs.bulk/0/2"])
DIGESTS = st.sampled_from(["11" * 32, "22" * 32])


@given(PLACES, DIGESTS, PLACES, DIGESTS)
def test_the_digest_decides_before_the_place(origin: str, digest: str, known_at: str, known: str) -> None:
    row = JobRow(1, UUID(int=1), digest, origin, "bulk", 1, 0, 0)
    same_place = Seen.REDELIVERED if origin == known_at else Seen.REPEAT
    assert judge(row, known, known_at) is (same_place if digest == known else Seen.CONFLICT)
