import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from broker.identity.seal import seal, verify

KEY = bytes(range(32))
STATE = b'{"job_id":"x"}'
DIGEST = bytes(32)


def test_a_seal_is_32_bytes_and_verifies() -> None:
    mac = seal(KEY, "admitted.bulk", STATE, DIGEST)

    assert len(mac) == 32
    assert verify(KEY, "admitted.bulk", STATE, DIGEST, mac)


@pytest.mark.parametrize(
    ("key", "topic", "state", "digest"),
    [
        (bytes(32), "admitted.bulk", STATE, DIGEST),
        (KEY, "reserved.bulk", STATE, DIGEST),
        (KEY, "admitted.bulk", STATE + b" ", DIGEST),
        (KEY, "admitted.bulk", STATE, b"\1" + bytes(31)),
    ],
    ids=["another key", "copied to another topic", "another state", "another value"],
)
def test_what_was_altered_does_not_verify(key: bytes, topic: str, state: bytes, digest: bytes) -> None:
    assert not verify(key, topic, state, digest, seal(KEY, "admitted.bulk", STATE, DIGEST))


@given(st.binary(max_size=40))
def test_a_guess_does_not_verify(mac: bytes) -> None:
    assume(mac != seal(KEY, "dead", STATE, DIGEST))

    assert not verify(KEY, "dead", STATE, DIGEST, mac)


@given(st.text(max_size=8), st.binary(max_size=8), st.text(max_size=8), st.binary(max_size=8))
def test_topic_and_state_do_not_run_into_each_other(a: str, b: bytes, c: str, d: bytes) -> None:
    assume((a, b) != (c, d))

    assert seal(KEY, a, b, DIGEST) != seal(KEY, c, d, DIGEST)
