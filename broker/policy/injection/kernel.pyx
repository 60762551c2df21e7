# cython: language_level=3, boundscheck=True, wraparound=False, initializedcheck=False
"""Words, weights and rules over concepts in one pass over bytes: what `interpreted` does, compiled.

It reads texts by tables that `compiled` makes, with their bounds checked, but for the text, the 128 signs of ASCII,
the joined words and two rows of numbers on the stack.
"""

from array import array

from cpython cimport array as carray
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.math cimport sqrt
from libc.string cimport memcmp

cdef extern from *:
    """
    #if defined(_MSC_VER)
    #include <intrin.h>
    static int lowest_bit(unsigned long long bits) { unsigned long at; _BitScanForward64(&at, bits); return (int)at; }
    #else
    static int lowest_bit(unsigned long long bits) { return __builtin_ctzll(bits); }
    #endif
    """
    int lowest_bit(unsigned long long bits) noexcept nogil

cdef enum:
    WIDTH_MAX = 32
    BITS = 64
    BLANK = 32
    STOP = 46  # the sign of an end
    PLAIN = 0
    END = 1  # the symbol of one
    STEM_CHARS = 6
    LETTER_BITS = 13
    ROOT_SCALE = 1024
    SPREAD = 2654435769

cdef uint32_t _FIRST = 2166136261
cdef uint32_t _PRIME = 16777619


cdef inline uint32_t _mixed(uint32_t code, unsigned char sign) noexcept:
    """FNV-1a."""
    return (code ^ sign) * _PRIME


cdef uint32_t _code(bytes word) except? 0:
    cdef uint32_t code = _FIRST
    for sign in word:
        code = _mixed(code, sign)
    return code


cdef int64_t _root(int64_t square) noexcept:
    """The whole part of a root."""
    cdef int64_t root = <int64_t>sqrt(<double>square)
    while root * root > square:
        root -= 1
    while (root + 1) * (root + 1) <= square:
        root += 1
    return root


cdef unsigned char _wide_sign(const unsigned char *at, Py_ssize_t more) noexcept:
    """What a character beyond ASCII counts as, if not as a part of a word; `more` bytes follow the first."""
    cdef uint32_t code
    if more == 1:
        code = (at[0] & 0x1F) << 6 | (at[1] & 0x3F)
        return BLANK if code < 0xC0 else STOP if code == 0x6D4 else 0
    if more == 2:
        code = (at[0] & 0x0F) << 12 | (at[1] & 0x3F) << 6 | (at[2] & 0x3F)
        if code == 0x3002 or code == 0x964:
            return STOP
        if 0x2000 <= code <= 0x2BFF or 0x3000 <= code <= 0x302F or code == 0x1680:
            return BLANK
    return 0


cdef class Spellings:
    """Which of some words a row of bytes is. Filled once: whoever chooses words cannot make it slow."""

    cdef bytes _joined
    cdef uint32_t[::1] _begins
    cdef uint64_t[::1] _slots
    """The code of a word above, its number and one below; 0 where there is none."""
    cdef int _shift

    def __cinit__(self, words):
        cdef uint32_t code, at, number
        self._joined = b"".join(words)
        bits = max((3 * len(words)).bit_length(), 4)
        self._shift = 32 - bits
        self._slots = array("Q", bytes(8 << bits))
        self._begins = array("I", bytes(4 * (len(words) + 1)))
        for number, word in enumerate(words):
            self._begins[number + 1] = self._begins[number] + len(word)
            code = _code(word)
            at = self._place(code)
            while self._slots[at]:
                at = (at + 1) % <uint32_t>self._slots.shape[0]
            self._slots[at] = <uint64_t>code << 32 | (number + 1)

    cdef inline uint32_t _place(self, uint32_t code) noexcept:
        return <uint32_t>(code * <uint32_t>SPREAD) >> self._shift

    cdef int find(self, uint32_t code, const unsigned char *word, Py_ssize_t size) except -2:
        """Its number, or -1."""
        cdef uint32_t at = self._place(code)
        cdef uint32_t number, begin
        cdef uint64_t slot
        cdef const unsigned char *joined = self._joined
        while True:
            slot = self._slots[at]
            if not slot:
                return -1
            if slot >> 32 == code:
                number = <uint32_t>slot - 1
                begin = self._begins[number]
                if self._begins[number + 1] - begin == size and not memcmp(joined + begin, word, size):
                    return <int>number
            at += 1
            if at == self._slots.shape[0]:
                at = 0


cdef class Kernel:
    """Tables over symbols, which are numbers here: 0 for a plain word, 1 for an end, then the others."""

    cdef Spellings _words, _stems
    cdef uint16_t[::1] _symbols, _stem_symbols, _letters
    cdef int32_t[::1] _weights
    cdef int32_t _end_weight
    cdef bytes _signs
    cdef int64_t _family_min, _family_max
    cdef uint64_t[::1] _threes
    """Three letters of 13 bits, then their weight; 0 where there is none."""
    cdef int _threes_shift
    cdef uint64_t[::1] _met, _firsts, _staying, _crossing
    cdef uint16_t[::1] _rule_of
    cdef Py_ssize_t _width
    cdef uint16_t[::1] _numbers
    cdef uint8_t[::1] _moving, _classes
    cdef uint64_t[::1] _first, _first_at_start, _last, _follow, _masks
    cdef uint32_t[::1] _masks_from

    def __cinit__(self, tables):
        """`tables`: see `compiled.Tables`. Made here, a kernel is never without them."""
        self._signs = tables.signs
        if len(self._signs) != 128:
            raise ValueError("a sign for each byte below 128")
        self._family_min, self._family_max = tables.family_min, tables.family_max
        self._words = Spellings(tables.words)
        self._symbols, self._weights = array("H", tables.symbols), array("i", tables.weights)
        self._end_weight = tables.end_weight
        self._stems, self._stem_symbols = Spellings(tables.stems), array("H", tables.stem_symbols)
        self._letters = array("H", tables.letters)
        if max(tables.letters) >= 1 << LETTER_BITS:
            raise OverflowError("a letter is too large")
        self._fill_threes(tables.sequences)
        self._width = tables.width
        if self._width > WIDTH_MAX:
            raise OverflowError("rules have too many needs")
        self._met, self._firsts = array("Q", tables.met), array("Q", tables.firsts)
        self._staying, self._crossing = array("Q", tables.staying), array("Q", tables.crossing)
        self._rule_of = array("H", tables.rule_of)
        self._numbers = array("H", tables.numbers)
        self._moving = array("B", tables.moving)
        self._first, self._first_at_start = array("Q", tables.first), array("Q", tables.first_at_start)
        self._last, self._follow = array("Q", tables.last), array("Q", tables.follow)
        self._classes = array("B", tables.classes)
        self._masks, self._masks_from = array("Q", tables.masks), array("I", tables.masks_from)

    cdef _fill_threes(self, sequences):
        cdef uint64_t key
        cdef uint32_t at
        bits = max((3 * len(sequences)).bit_length(), 4)
        self._threes_shift = BITS - bits
        self._threes = array("Q", bytes(8 << bits))
        for (one, two, three), weight in sequences:
            if max(one, two, three) >= 1 << LETTER_BITS or not -1 << 23 <= weight < 1 << 23:
                raise OverflowError("a sequence's letters or weight are too large")
            key = <uint64_t>one << 2 * LETTER_BITS | <uint64_t>two << LETTER_BITS | <uint64_t>three
            at = self._place_of_three(key)
            while self._threes[at]:
                at = (at + 1) % <uint32_t>self._threes.shape[0]
            self._threes[at] = key << 24 | <uint64_t>(weight & 0xFFFFFF)

    cdef inline uint32_t _place_of_three(self, uint64_t key) noexcept:
        return <uint32_t>(key * <uint64_t>0x9E3779B97F4A7C15 >> self._threes_shift)

    cdef int32_t _weight_of_three(self, uint64_t key) except? -1:
        cdef uint32_t at = self._place_of_three(key)
        cdef uint64_t slot
        while True:
            slot = self._threes[at]
            if not slot:
                return 0
            if slot >> 24 == key:
                return <int32_t>(<uint32_t>slot << 8) >> 8
            at += 1
            if at == self._threes.shape[0]:
                at = 0

    def read(self, list segments not None):
        """What stands in the bytes of segments side by side."""
        cdef Py_ssize_t size = sum(map(len, segments))
        cdef Reading reading = Reading(self, size)
        cdef uint8_t[::1] signs = carray.clone(_BYTES, size, zero=False)
        for text in segments:
            self._read(signs, self._written(text, signs), reading)
        reading._weigh()
        return reading

    cdef Py_ssize_t _written(self, bytes text, uint8_t[::1] signs) except -1:
        """Write the words of a text with a blank between them and a stop for each sign that ends a sentence; how
        many bytes those are.
        """
        cdef const unsigned char *read = text
        cdef const unsigned char *table = self._signs
        cdef Py_ssize_t size = len(text), at = 0, written = 0, more  # bytes of a character behind its first
        cdef unsigned char sign
        while at < size:
            sign = read[at]
            if sign < 128:
                at += 1
                sign = table[sign]
                if sign:
                    signs[written] = sign
                    written += 1
                continue
            more = 1 + (sign >= 0xE0) + (sign >= 0xF0)
            if at + more >= size:
                more = size - at - 1
            sign = _wide_sign(read + at, more)
            if sign:
                signs[written] = sign
                written += 1
                at += more + 1
                continue
            more += at + 1
            while at < more:
                signs[written] = read[at]
                written += 1
                at += 1
        return written

    cdef int _read(self, const uint8_t[::1] signs, Py_ssize_t size, Reading reading) except -1:
        cdef const unsigned char *text = &signs[0] if size else NULL
        cdef Py_ssize_t at = 0, begin, stem_size, chars
        cdef Py_ssize_t place = reading._size, words, letters = 0
        cdef uint32_t code, stem_code
        cdef int64_t word_sum = 0, sequence_sum = 0
        cdef uint64_t three = 0
        cdef uint16_t symbol, letter
        cdef unsigned char sign
        cdef bint ended = False
        cdef int number
        while at < size:
            sign = text[at]
            if sign == BLANK:
                ended = False
                at += 1
                continue
            if sign == STOP:
                at += 1
                if ended:
                    continue
                ended = True
                symbol = END
                word_sum += self._end_weight
            else:
                ended = False
                begin, code, chars, stem_code, stem_size = at, _FIRST, 0, 0, 0
                while sign != BLANK and sign != STOP:
                    if sign & 0xC0 != 0x80:  # the first byte of a character
                        if chars == STEM_CHARS:
                            stem_code, stem_size = code, at - begin
                        chars += 1
                    code = _mixed(code, sign)
                    at += 1
                    if at == size:
                        break
                    sign = text[at]
                number = self._words.find(code, text + begin, at - begin)
                if number >= 0:
                    symbol = self._symbols[number]
                    word_sum += self._weights[number]
                else:
                    if chars <= STEM_CHARS:
                        stem_code, stem_size = code, at - begin
                    number = self._stems.find(stem_code, text + begin, stem_size)
                    symbol = self._stem_symbols[number] if number >= 0 else PLAIN
            reading._symbols[place] = symbol
            place += 1
            letter = self._letters[symbol]
            if letter:
                letters += 1
                three = (three << LETTER_BITS | letter) & (<uint64_t>1 << 3 * LETTER_BITS) - 1
                if letters > 2:
                    sequence_sum += self._weight_of_three(three)
        words = place - reading._size
        reading._size = place
        reading._edges.append(place)
        reading._sums.append((word_sum, words, sequence_sum, letters - 2 if letters > 2 else 0))
        return 0

    cdef int64_t _bounded(self, int64_t total, int64_t count) except? -1:
        """A sum of weights over the root of their number."""
        cdef int64_t part = 0
        if count:
            part = total * ROOT_SCALE // _root(count * ROOT_SCALE * ROOT_SCALE)
        return max(self._family_min, min(self._family_max, part))

    cdef bint _holds(self, Py_ssize_t rule, uint16_t[::1] symbols, Py_ssize_t start, Py_ssize_t stop) except -1:
        """Whether a rule matches somewhere in a stretch, as if it were the whole text."""
        cdef Py_ssize_t at, symbols_of_all = self._letters.shape[0]
        cdef uint64_t states = 0, reached, rest, last = self._last[rule], first = self._first_at_start[rule]
        cdef uint32_t masks_from = self._masks_from[rule]
        for at in range(start, stop):
            reached, rest = first, states
            while rest:
                reached |= self._follow[rule * BITS + lowest_bit(rest)]
                rest &= rest - 1
            states = reached & self._masks[masks_from + self._classes[rule * symbols_of_all + symbols[at]]]
            if states & last:
                return True
            if at == start:
                first = self._first[rule]
        return False


cdef carray.array _SYMBOLS = array("H")
cdef carray.array _BYTES = array("B")


cdef class Reading:
    """The symbols of some segments, and what they say."""

    cdef Kernel _kernel
    cdef uint16_t[::1] _symbols
    cdef Py_ssize_t _size
    cdef list _edges, _sums
    cdef readonly list families

    def __cinit__(self, Kernel kernel not None, Py_ssize_t size):
        """`size`: of symbols, at most."""
        self._kernel = kernel
        self._symbols = carray.clone(_SYMBOLS, size, zero=False)
        self._edges, self._sums, self.families = [0], [], []

    cdef int _weigh(self) except -1:
        """Of each two segments side by side, or of the only one, what each family gives."""
        cdef tuple one, other = (0, 0, 0, 0)
        for place in range(max(len(self._sums) - 1, 1)):
            one = self._sums[place]
            if len(self._sums) > 1:
                other = self._sums[place + 1]
            word = self._kernel._bounded(one[0] + other[0], one[1] + other[1])
            sequence = self._kernel._bounded(one[2] + other[2], one[3] + other[3])
            self.families.append((word, sequence))
        return 0

    def rules(self):
        """Of each two segments side by side, or of the only one, the rules that match in them."""
        found = self._found()
        if len(self._edges) == 2:
            return (tuple([self._kernel._numbers[rule] for rule in sorted(found)]),)
        holding = [[] for _ in self._edges[2:]]
        for rule in sorted(found):
            number = self._kernel._numbers[rule]
            for place in self._windows_of(rule, found[rule]):
                holding[place].append(number)
        return tuple(map(tuple, holding))

    cdef dict _found(self):
        """Of each rule that matches the sentences that it matches in, if it stays in one."""
        cdef Kernel kernel = self._kernel
        cdef Py_ssize_t at, start = 0, word, width = kernel._width
        cdef uint64_t met[WIDTH_MAX]
        cdef uint64_t every[WIDTH_MAX]
        cdef uint16_t symbol
        cdef dict found = {}
        for word in range(width):
            met[word], every[word] = 0, kernel._met[END * width + word]
        for at in range(self._size + 1):
            symbol = self._symbols[at] if at < self._size else END
            if symbol == END:
                self._ask(met, kernel._staying, start, at, True, found)
                for word in range(width):
                    every[word] |= met[word]
                    met[word] = 0
                start = at + 1
            elif symbol:
                for word in range(width):
                    met[word] |= kernel._met[symbol * width + word]
        self._ask(every, kernel._crossing, 0, self._size, False, found)
        return found

    cdef int _ask(
        self, uint64_t *met, uint64_t[::1] behind, Py_ssize_t start, Py_ssize_t stop, bint stays, dict found
    ) except -1:
        """Ask the rules that have all that they need whether they match."""
        cdef Kernel kernel = self._kernel
        cdef Py_ssize_t word, asked = -1, rule
        cdef uint64_t total, done, carried = 0
        for word in range(kernel._width):
            total = met[word] + carried
            carried = total < carried
            done = total + kernel._firsts[word]
            carried |= done < total
            done &= behind[word]
            while done:
                rule = kernel._rule_of[word * BITS + lowest_bit(done)]
                done &= done - 1
                if rule != asked:  # the ways through a rule stand side by side
                    asked = rule
                    if kernel._holds(rule, self._symbols, start, stop):
                        if not stays:
                            found.setdefault(rule, [])
                        else:
                            found.setdefault(rule, []).append((start, stop))
        return 0

    def _windows_of(self, rule, list stretches):
        """In order, the places of windows that a rule matches in; `stretches`: the sentences, if it stays in one."""
        cdef Py_ssize_t low, high, first = 0
        moving = self._kernel._moving[rule]
        for place in range(len(self._edges) - 2):
            low, high = self._edges[place], self._edges[place + 2]
            if moving:
                if self._kernel._holds(rule, self._symbols, low, high):
                    yield place
                continue
            while first < len(stretches) and stretches[first][1] <= low:
                first += 1
            if self._in_one_of(rule, stretches, first, low, high):
                yield place

    cdef bint _in_one_of(
        self, Py_ssize_t rule, list stretches, Py_ssize_t first, Py_ssize_t low, Py_ssize_t high
    ) except -1:
        """Whether a rule matches in what a window has of a sentence. Only one that it cuts has to be asked again."""
        cdef Py_ssize_t place, start, stop
        for place in range(first, len(stretches)):
            start, stop = stretches[place]
            if start >= high:
                return False
            if low <= start and stop <= high:
                return True
            if self._kernel._holds(rule, self._symbols, max(low, start), min(high, stop)):
                return True
        return False
