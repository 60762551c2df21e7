"""Figures as people read them."""

import pytest

from headworks.cli.units import duration, size


@pytest.mark.parametrize(
    ("ms", "told"),
    [
        (14 * 86_400_000, "14 days"),
        (86_400_000, "1 day"),
        (36 * 3_600_000, "36 hours"),
        (90 * 60_000, "90 minutes"),
        (1_000, "1 second"),
        (1_500, "1500 ms"),
        (0, "0 ms"),
        (-1, "forever"),
    ],
)
def test_durations(ms: int, told: str) -> None:
    assert duration(ms) == told


@pytest.mark.parametrize(
    ("count", "told"), [(12 * 1024 * 1024, "12 MiB"), (1024, "1 KiB"), (1_000, "1000 bytes"), (0, "0 bytes")]
)
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told
