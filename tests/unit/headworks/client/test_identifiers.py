"""Job ids: their version and variant bits, their order, and what makes two the same."""

from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from headworks.client.identifiers import derived_job_id, fresh_job_id

texts = st.text(max_size=40)
entropies = st.binary(min_size=10, max_size=10)
moments = st.integers(min_value=0, max_value=2**48 - 1)


@given(moments, entropies)
def test_a_fresh_id_is_a_uuid_of_version_7_that_tells_its_moment(now_ms: int, entropy: bytes) -> None:
    job_id = fresh_job_id(now_ms, entropy)
    assert (job_id.version, job_id.variant) == (7, RFC_4122)
    assert job_id.int >> 80 == now_ms


@given(moments, moments, entropies, entropies)
def test_fresh_ids_sort_by_their_moment(earlier: int, later: int, one: bytes, other: bytes) -> None:
    if earlier < later:
        assert fresh_job_id(earlier, one) < fresh_job_id(later, other)


def test_all_of_the_entropy_but_the_stamped_bits_is_in_a_fresh_id() -> None:
    assert fresh_job_id(0, bytes(10)) == UUID("00000000-0000-7000-8000-000000000000")
    assert fresh_job_id(0, b"\xff" * 10) == UUID("00000000-0000-7fff-bfff-ffffffffffff")


@given(texts, st.lists(texts, max_size=4))
def test_a_derived_id_is_a_uuid_of_version_8_and_always_the_same(application: str, parts: list[str]) -> None:
    job_id = derived_job_id(application, *parts)
    assert (job_id.version, job_id.variant) == (8, RFC_4122)
    assert job_id == derived_job_id(application, *parts)


@given(st.lists(texts, min_size=1, max_size=4), st.lists(texts, min_size=1, max_size=4))
def test_other_parts_give_another_id_also_where_they_join_to_the_same_text(
    one: list[str], other: list[str]
) -> None:
    assert (derived_job_id(*one) == derived_job_id(*other)) == (one == other)


def test_the_derivation_does_not_change() -> None:
    assert derived_job_id("acme", "invoice 17") == UUID("40bbb174-28b2-8067-8250-297c3d0c4e9e")
