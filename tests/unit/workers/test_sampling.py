from collections import defaultdict
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from workers.sampling import Sampler

times = st.lists(st.integers(0, 700), max_size=80).map(lambda steps: list(accumulate(steps)))


@given(st.integers(0, 5), times)
def test_never_more_than_so_many_a_second_and_always_the_first(per_s: int, times_ms: list[int]) -> None:
    sampler = Sampler(per_s)
    asked: defaultdict[int, list[bool]] = defaultdict(list)
    for now_ms in times_ms:
        asked[now_ms // 1000].append(sampler.take(now_ms))
    for answers in asked.values():
        assert answers == [number < per_s for number in range(len(answers))]


def test_a_new_second_begins_anew_after_any_time() -> None:
    sampler = Sampler(1)
    assert [sampler.take(now_ms) for now_ms in (999, 1_000, 1_999, 86_400_000)] == [True, True, False, True]


def test_the_first_second_of_all_is_limited_too() -> None:
    sampler = Sampler(1)
    assert [sampler.take(0), sampler.take(1)] == [True, False]
