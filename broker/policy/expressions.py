"""The conditions of rules: CEL, checked against the closed list of facts before anything runs.

Of CEL a rule gets what yields a boolean in bounded time: operators, literals, `size`, `contains`,
`startsWith`, `endsWith`, `matches`, the conversions `int`, `double`, `string`, and the macros `has`, `all`,
`exists`, `exists_one` and `filter`, which may not stand in one another. There is no clock and no randomness.
`matches` runs on RE2, as the CEL specification has it, with patterns that are written out and compiled once.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import cel
import re2

from broker.policy.facts import Fact, Phase, fact, holds_facts

SOURCE_CHARS_MAX: Final = 2_000
NESTING_MAX: Final = 32
MACROS_MAX: Final = 8
PATTERN_BYTES_MAX: Final = 65_536
"""Of a compiled pattern, as RE2 counts them."""

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\n]+|//[^\n]*)
      | (?P<text>[rR](?:"[^"\n]*"|'[^'\n]*')|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<number>(?:0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)u?)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<mark>&&|\|\||[=!<>]=|[-+*/%!<>?:.,()\[\]])""",
    re.VERBOSE,
)
_CONSTANTS: Final = frozenset({"true", "false", "null", "in"})
_MACROS: Final = frozenset({"all", "exists", "exists_one", "filter"})
_FUNCTIONS: Final = frozenset(
    "has size contains startsWith endsWith matches int double string".split()  # noqa: SIM905
)
_OPENING: Final = {"(": ")", "[": "]"}


class ExpressionInvalid(ValueError):
    """What is wrong with an expression, in words for whoever wrote it."""


class Expression(NamedTuple):
    source: str
    program: cel.Program
    reads: Mapping[str, Fact]
    """The facts that it reads, by name."""
    phase: Phase
    """`answer` where it reads what only an answer can tell."""
    patterns: Mapping[str, Any]
    """Compiled, by source."""


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


class _Chain(NamedTuple):
    """A dotted name, from the token at `start` to the one at `end`, which is not part of it."""

    name: str
    start: int
    end: int


def compile_expression(source: str, types: frozenset[str]) -> Expression:
    """`types`: the types of personal and secret data that may be asked for. Raises ExpressionInvalid."""
    if len(source) > SOURCE_CHARS_MAX:
        raise ExpressionInvalid(f"a condition may have {SOURCE_CHARS_MAX} characters at most")
    tokens = _tokens(source)
    _check_nesting(tokens)
    _check_functions(tokens)
    bound = _bound(tokens)
    chains = list(_chains(tokens))
    reads = dict(_reads(chains, bound, types))
    _check_guards(tokens, chains, reads)
    patterns = dict(_patterns(tokens))
    program = _compiled(source, tokens)
    _check_agreement(program, chains)
    return Expression(source, program, reads, _phase(reads), patterns)


def holds(program: cel.Program, context: cel.Context) -> bool | None:
    """None where it fails or yields anything but a boolean. The fault is not kept: it may quote a value."""
    try:
        result = program.execute(context)
    except BaseException as error:
        # A panic of the interpreter is none of Exception, and denies like any other fault of a rule.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        return None
    return result if isinstance(result, bool) else None


def context_of(values: dict[str, Any], patterns: Mapping[str, Any]) -> cel.Context:
    """What expressions are run on: facts as nested dictionaries, and the patterns of all of them."""
    context = cel.Context(values)
    if patterns:
        context.add_function("re2_matches", lambda text, pattern: patterns[pattern].search(text) is not None)
    return context


def _tokens(source: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(source):
        found = _TOKEN.match(source, at)
        if found is None:
            raise ExpressionInvalid(f"column {at + 1}: `{source[at]}` has no place in a condition")
        if found.lastgroup == "text" and tokens and tokens[-1].kind == "text":
            raise ExpressionInvalid(f"column {at + 1}: a text stands right behind another")
        if found.lastgroup != "space":
            tokens.append(_Token(str(found.lastgroup), found[0], at))
        at = found.end()
    if not tokens:
        raise ExpressionInvalid("a condition is empty")
    return tokens


def _check_nesting(tokens: list[_Token]) -> None:
    """Brackets in pairs and not too deep; macros few, and not one within another."""
    open_: list[tuple[str, bool]] = []
    macros = 0
    for position, token in enumerate(tokens):
        if token.kind != "mark":
            continue
        if token.text in _OPENING:
            is_macro = token.text == "(" and _is_macro(tokens, position - 1)
            macros += is_macro
            if is_macro and any(macro for _, macro in open_):
                raise ExpressionInvalid("a macro may not stand in another")
            open_.append((_OPENING[token.text], is_macro))
        elif token.text in _OPENING.values() and (not open_ or open_.pop()[0] != token.text):
            raise ExpressionInvalid(f"column {token.at + 1}: `{token.text}` closes nothing")
        if len(open_) > NESTING_MAX or macros > MACROS_MAX:
            raise ExpressionInvalid(f"a condition may nest {NESTING_MAX} deep and use {MACROS_MAX} macros")


def _is_macro(tokens: list[_Token], position: int) -> bool:
    return position > 0 and tokens[position].text in _MACROS and tokens[position - 1].text == "."


def _text_at(tokens: list[_Token], position: int) -> str:
    return tokens[position].text if 0 <= position < len(tokens) else ""


def _bound(tokens: list[_Token]) -> frozenset[str]:
    """The names that macros bind, such as `tool` in `request.tools.exists(tool, …)`."""
    names = {tokens[at + 2].text for at in range(len(tokens) - 2) if _is_macro(tokens, at)}
    for name in names:
        if not name.isidentifier() or name in _CONSTANTS or holds_facts(name) or fact(name, frozenset()):
            raise ExpressionInvalid(f"`{name}` cannot name an element of a list")
    return frozenset(names)


def _chains(tokens: list[_Token]) -> Iterator[_Chain]:
    """The dotted names that stand for values. A method's name at the end is not part of one."""
    position = 0
    while position < len(tokens):
        start = position
        position += 1
        token = tokens[start]
        if token.kind != "name" or token.text in _CONSTANTS:
            continue
        if _text_at(tokens, start - 1) == "." or _text_at(tokens, position) == "(":
            continue
        steps = [token.text]
        while _text_at(tokens, position) == "." and _text_at(tokens, position + 2) != "(":
            steps.append(_text_at(tokens, position + 1))
            position += 2
        yield _Chain(".".join(steps), start, position)


def _reads(
    chains: Iterable[_Chain], bound: frozenset[str], types: frozenset[str]
) -> Iterator[tuple[str, Fact]]:
    for chain in chains:
        root, _, rest = chain.name.partition(".")
        if root in bound:
            if rest:
                raise ExpressionInvalid(f"`{root}` is a text and has no `{rest}`")
            continue
        known = fact(chain.name, types)
        if known is None:
            raise ExpressionInvalid(_unknown(chain.name))
        yield chain.name, known


def _unknown(name: str) -> str:
    if holds_facts(name):
        return f"`{name}` holds several facts: name the one that is meant, with a dot"
    if name.startswith(("dlp.request.", "dlp.answer.")):
        return f"`{name}`: no such type of data is known"
    return f"`{name}` is no fact"


def _check_guards(tokens: list[_Token], chains: Iterable[_Chain], reads: Mapping[str, Fact]) -> None:
    guarded = {chain.name for chain in chains if _in_has(tokens, chain.start)}
    for name, known in reads.items():
        if known.optional and name not in guarded:
            raise ExpressionInvalid(f"a job may lack `{name}`: ask `has({name})` first")


def _in_has(tokens: list[_Token], start: int) -> bool:
    return _text_at(tokens, start - 1) == "(" and _text_at(tokens, start - 2) == "has"


def _check_functions(tokens: list[_Token]) -> None:
    for position, token in enumerate(tokens):
        if token.kind != "name" or _text_at(tokens, position + 1) != "(":
            continue
        if token.text not in _FUNCTIONS and token.text not in _CONSTANTS and not _is_macro(tokens, position):
            raise ExpressionInvalid(f"`{token.text}` is no function that a condition may call")


def _patterns(tokens: list[_Token]) -> Iterator[tuple[str, Any]]:
    """`x.matches("…")`: the pattern must be a literal, and the only argument."""
    for position, token in enumerate(tokens):
        if token.text != "matches" or token.kind != "name":
            continue
        literal = tokens[position + 2] if position + 3 < len(tokens) else token
        if literal.kind != "text" or tokens[position + 3].text != ")" or tokens[position - 1].text != ".":
            raise ExpressionInvalid('`matches` is written `x.matches("…")`, with the pattern written out')
        yield _pattern(literal.text)


def _pattern(literal: str) -> tuple[str, Any]:
    pattern: str = _compile(literal).execute({})
    return pattern, compile_pattern(pattern)


def compile_pattern(pattern: str) -> Any:
    """An RE2 pattern within the bound on its size. Raises ExpressionInvalid."""
    options = re2.Options()
    options.max_mem = PATTERN_BYTES_MAX
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        text = error.args[0]
        reason = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise ExpressionInvalid(f"not a pattern that RE2 takes: {reason}") from None


def _compiled(source: str, tokens: list[_Token]) -> cel.Program:
    """The interpreter's own `matches` would compile its pattern at each call: ours is put in its place."""
    parts, at = [], 0
    for token in tokens:
        if token.kind == "name" and token.text == "matches":
            parts += [source[at : token.at], "re2_matches"]
            at = token.at + len(token.text)
    return _compile("".join([*parts, source[at:]]))


def _compile(source: str) -> cel.Program:
    try:
        return cel.compile(source)
    except ValueError as error:
        found = re.search(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)", str(error))
        reason = f"line {found[1]} of the condition, column {found[2]}: {found[3]}" if found else "not CEL"
        raise ExpressionInvalid(reason) from None


def _check_agreement(program: cel.Program, chains: Iterable[_Chain]) -> None:
    """The interpreter must have read the names that were checked, and no others."""
    ours = {chain.name.partition(".")[0] for chain in chains}
    if ours != set(program.variables()):
        raise ExpressionInvalid("this way of writing it is not taken")


def _phase(reads: Mapping[str, Fact]) -> Phase:
    phases = frozenset[Phase]({"request", "answer"}).intersection(*(known.phases for known in reads.values()))
    if not phases:
        raise ExpressionInvalid("a condition reads what is found in the request or in the answer, not both")
    return "request" if "request" in phases else "answer"
