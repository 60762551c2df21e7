"""Who is at the keyboard: a name that can be put on record, whatever the system gives."""

import orjson
import pytest

from broker.ops.operator import operator


@pytest.mark.parametrize(
    ("given", "name"), [("ann", "ann"), ("Zoë", "Zoë"), ("ann\udcff", r"ann\udcff"), ("a" * 200, "a" * 128)]
)
def test_a_name_that_is_no_text_is_told_by_its_bytes(
    given: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an environment has in another encoding than UTF-8 comes as lone surrogates (PEP 383)."""
    monkeypatch.setenv("HEADWORKS_OPERATOR", given)
    assert operator() == name
    assert orjson.dumps(operator())
