"""The limits of what is compiled: what its tables cannot hold is refused when they are made."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.policy.injection import lexicon, rules
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.patterns import Part, parse
from broker.policy.injection.reading import Weights
from tests.unit.broker.policy.injection.kinds import KINDS

if TYPE_CHECKING or "compiled" in KINDS:
    from broker.policy.injection import kernel
    from broker.policy.injection.compiled import Tables, _tables, compiled_reader
else:
    pytest.skip("nothing was compiled", allow_module_level=True)


def _lexicon(count: int) -> Lexicon:
    return lexicon._build({f"word{n}": [f"concept{n}"] for n in range(count)}, set())


def _empty() -> Tables:
    return _tables({}, _lexicon(1), Weights())


def _row(names: list[str], words: Lexicon) -> Part:
    return parse(" ".join(f"<{name}>" for name in names), words)


def test_it_was_compiled_from_the_source_beside_it() -> None:
    built = Path(kernel.__file__)
    assert built.stat().st_mtime >= built.with_name("kernel.pyx").stat().st_mtime, "run `make setup`"


def test_needs_fill_the_table_and_no_more() -> None:
    """2048 bits: one behind the needs of each way."""
    words = _lexicon(7)
    names = [f"concept{n}" for n in range(7)]
    parts = {n: _row(names[:5], words) for n in range(340)} | {340: _row(names, words)}
    text = " ".join([f"word{n}" for n in range(7)])
    assert compiled_reader(parts, words, Weights()).read([text.encode()]).rules() == (tuple(range(341)),)
    with pytest.raises(OverflowError, match="needs"):
        compiled_reader({**parts, 341: _row(names[:1], words)}, words, Weights())


@pytest.mark.parametrize("count", [8_190, 8_191])
def test_letters_are_below_8192(count: int) -> None:
    """One of them is the end's."""
    if count < 8_191:
        assert compiled_reader({}, _lexicon(count), Weights()).read([b"word0"]).rules() == ((),)
    else:
        with pytest.raises(OverflowError, match="letter"):
            compiled_reader({}, _lexicon(count), Weights())


@pytest.mark.parametrize("weight", [2**23, -(2**23) - 1])
def test_weights_of_sequences_have_24_bits(weight: int) -> None:
    with pytest.raises(OverflowError, match="weight"):
        kernel.Kernel(_empty()._replace(sequences=[((1, 1, 1), weight)]))


@pytest.mark.parametrize("weights", [{"word0": 2**31}, {"other": -(2**31) - 1}, {".": 2**31}])
def test_weights_of_words_have_32_bits(weights: Mapping[str, int]) -> None:
    with pytest.raises(OverflowError):
        compiled_reader({}, _lexicon(1), Weights(weights))


def test_a_rule_tells_256_sets_of_symbols_apart() -> None:
    words = rules.load()[1]
    names = sorted(words.concepts)[:300]
    several = " ".join(f"<{'|'.join(names[n] for n in range(300) if n >> bit & 1)}>" for bit in range(9))
    with pytest.raises(OverflowError):
        compiled_reader({0: parse(several, words)}, words, Weights())


@pytest.mark.parametrize("kind", [kernel.Kernel, kernel.Reading])
def test_nothing_is_made_without_its_parts(kind: type[object]) -> None:
    with pytest.raises(TypeError):
        kind.__new__(kind)


@pytest.mark.parametrize("segments", [(b"a",), iter([b"a"]), ["a"], [bytearray(b"a")], [None], None])
def test_segments_are_a_list_of_bytes(segments: list[bytes]) -> None:
    with pytest.raises(TypeError):
        kernel.Kernel(_empty()).read(segments)


def test_tables_that_do_not_fit_together_are_an_error_and_no_more() -> None:
    holed = kernel.Kernel(_empty()._replace(symbols=[60_000], met=[], stem_symbols=[]))
    with pytest.raises(IndexError):
        holed.read([b"word0"])
    with pytest.raises(IndexError):
        holed.read([b"."]).rules()


@pytest.mark.parametrize("cut", [b"\xc3", b"\xe5", b"\xe5\xbf", b"\xf0", b"\xf0\x9f\x98", b"\x80", b"\xff"])
def test_a_text_that_ends_within_a_character_is_read_no_further(cut: bytes) -> None:
    reader = kernel.Kernel(_empty())
    assert reader.read([cut]).rules() == reader.read([b"word0", b"a" + cut]).rules() == ((),)
