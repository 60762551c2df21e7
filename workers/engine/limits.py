"""How much a pump reads, hands on and has under way, and how long it waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    batch_max: int
    """Records handed to the stage at once."""
    under_way_max: int
    """Batches of one lane under way; 1 keeps the order of each partition unless tenants share."""
    span_max: int
    """Records of one partition from its oldest unfinished one to the last that was read."""
    commit_interval_s: float = 0.5
    fetch_wait_ms: int = 1_000
    revoke_wait_s: float = 2.0
    leave_s: float = 5.0
    """How long a last commit may take, and the leaving of a group."""
    waiting_bytes_max: int = 16 * 1024 * 1024
    """Of one partition's records that are fetched and not handed on: beyond it the reader pauses."""
    slot_bytes: int = 0
    """A record takes one slot more for each so many bytes; 0: one slot a record."""
    rehome_after_s: float = 10.0
    """How long a record is under way before it may get a successor, where it holds up its partition."""
