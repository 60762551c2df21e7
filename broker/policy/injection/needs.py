"""What rules over concepts need, wherever it stands: which of them can match at all, told by one sum."""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import chain
from operator import or_

from broker.policy.injection.automata import places
from broker.policy.injection.lexicon import END, PLAIN, Lexicon
from broker.policy.injection.patterns import Part, stays, ways


class Needs:
    """What each way through a rule needs, wherever it stands in a sentence.

    A number has a bit for each need of each way, and one behind them. A symbol has the bits of the needs that
    it meets. Where all of a way's are met, one more at the first of them is carried to the bit behind.
    """

    def __init__(self, parts: Mapping[int, Part], words: Lexicon) -> None:
        self.met_by = dict.fromkeys((PLAIN, END, *chain.from_iterable(words.concepts.values())), 0)
        self.rule_of: dict[int, int] = {}
        """Of each bit behind a way, the rule."""
        self.firsts = self.staying = self.crossing = 0
        """Bits: of each way the first need; behind it, by whether its rule stays in a sentence."""
        place = 0
        for number, part in parts.items():
            for way in ways(part):
                self.firsts |= 1 << place
                for need in way:
                    for symbol in need:
                        self.met_by[symbol] |= 1 << place
                    place += 1
                self.rule_of[place] = number
                if stays(part):
                    self.staying |= 1 << place
                else:
                    self.crossing |= 1 << place
                place += 1

    def likely(self, symbols: str, each: Sequence[str]) -> tuple[list[tuple[int, int, list[int]]], list[int]]:
        """Start and stop of sentences, each with the rules that may match in it; and those that may match
        over the end of a sentence. `each`: the symbols one by one, which a list gives quicker than a text.
        """
        met_of, firsts, staying = self.met_by.__getitem__, self.firsts, self.staying
        found = []
        start, every = 0, met_of(END)
        for sentence in symbols.split(END):
            stop = start + len(sentence)
            met = reduce(or_, map(met_of, each[start:stop]), 0)
            every |= met
            if done := met + firsts & staying:
                found.append((start, stop, self._rules_of(done)))
            start = stop + len(END)
        return found, self._rules_of(every + firsts & self.crossing)

    def _rules_of(self, done: int) -> list[int]:
        return sorted({self.rule_of[place] for place in places(done)})
