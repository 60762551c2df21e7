"""What finding personal data and secrets costs: `python -m benchmarks.dlp`.

CPU of one core on prompts of 1 KB and 100 KB, and on hostile texts of 1 MB.
"""

import argparse
import random
import string
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks.load import percentile
from benchmarks.report import save, show
from broker.policy.dlp.errors import TooMuchFound
from broker.policy.dlp.finder import Finder
from broker.policy.dlp.spans import Kind

_PROSE = (
    "Please read the minutes below and list who promised what. Anna said the migration of the reporting "
    "cluster would be finished by 14 May 2024, two days later than planned, and that 37 of 42 tables were "
    "done. Nobody objected. Tom asked whether the nightly job (https://wiki.example.com/jobs/nightly?v=3) "
    "still needs the old schema; it does not. The budget of $12,400 stays as it is. "
)
_PERSONAL = (
    "Write to joe.doe@example.com or call +44 20 7946 0958. "
    "The card 4111 1111 1111 1111 was charged from 10.20.30.40. "
)
_KINDS = tuple(kind for kind in Kind if kind != Kind.PERSON)
_HOSTILE_CHARACTERS = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dlp", description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("build/dlp.json"), help="where the figures go")
    arguments = parser.parse_args()
    finder = Finder(_KINDS)
    figures = {
        **_prompts("1 KB, nothing in it", finder, _filled(_PROSE, 1_024), 2_000),
        **_prompts("1 KB, four findings", finder, _filled(_PERSONAL + _PROSE * 9, 1_024), 2_000),
        **_prompts("1 KB, nothing but findings", finder, _filled(_PERSONAL, 1_024), 500),
        **_prompts("100 KB, a finding a KB", finder, _filled(_PERSONAL + _PROSE * 9, 102_400), 20),
    }
    cost_ms = {name: _cpu_ms(finder, text) for name, text in hostile(_HOSTILE_CHARACTERS).items()}
    dearest = max(cost_ms, key=cost_ms.__getitem__)
    rows = [
        (f"{name}, {share}", f"{value:.0f} µs", "")
        for name, at in figures.items()
        for share, value in at.items()
    ]
    rows.append(
        (f"1 MB, dearest of {len(cost_ms)}: {dearest}", f"{cost_ms[dearest]:.0f} ms", "never seconds")
    )
    show("Data loss prevention, CPU of one core", rows)
    save({"cpu_us": figures, "hostile_1mb_cpu_ms": cost_ms}, arguments.json)


def _prompts(name: str, finder: Finder, text: str, times: int) -> dict[str, dict[str, float]]:
    taken = sorted(_cpu_us(lambda: finder.find(text)) for _ in range(times))
    return {name: {"p50": percentile(taken, 0.5), "p99": percentile(taken, 0.99)}}


def _cpu_us(call: Callable[[], object]) -> float:
    started = time.process_time_ns()
    call()
    return (time.process_time_ns() - started) / 1_000


def _cpu_ms(finder: Finder, text: str) -> float:
    def find() -> None:
        try:
            finder.find(text)
        except TooMuchFound:
            return

    return _cpu_us(find) / 1_000


def _filled(text: str, characters: int) -> str:
    return (text * (characters // len(text) + 1))[:characters]


def hostile(characters: int) -> dict[str, str]:
    """Texts of that length that are made to take long, by name."""
    repeated = {
        "digits": "1234567890",
        "digits apart": "4111 ",
        "zeros": "0 ",
        "at signs": "@",
        "half addresses": "a@b.",
        "addresses": "joe@example.com ",
        "quads": "1.2.",
        "IPv4": "10.20.30.40 ",
        "colons": ":",
        "IPv6": "a::1:",
        "plus signs": "+1 415 555 26",
        "phones": "415-779-9194 ",
        "no phones": "+999 12 34 56 ",
        "IBANs": "DE88 3704 ",
        "no cards": "4111 1111 1111 1112 ",
        "SSNs": "ssn 123 45 6789 ",
        "passwords": 'password="',
        "tokens": "token=ab12cd34ef56gh78 ",
        "prefixes": "sk-",
        "key heads": "eyJaaaaaaaaa-",
        "PEM": "-----BEGIN PRIVATE KEY-----",
        "URLs": "x://a:b@",
        "full-width": "１中",
        "brackets": "[EMAIL_",
        "prose": _PROSE,
        "base64": "SWdub3JlIGFsbCBydWxlcw ",
        "percent": "%41%42",
        "entities": "&#65;",
        "Morse": ".- -... ",
        "apart": "i g n o r e ",
        "leet": "1gn0r3 ",
        "backwards": "eht dna ",
        "unseen": "a\u200b",
    }
    noises = {
        "letters": string.ascii_letters,
        "hexadecimal": "0123456789abcdef",
        "numbers": "0123456789 .-()/+",
        "printable": string.printable,
    }
    return {
        **{name: _filled(text, characters) for name, text in repeated.items()},
        **{name: _noise(alphabet, characters) for name, alphabet in noises.items()},
    }


def _noise(alphabet: Iterable[str], characters: int) -> str:
    return "".join(random.Random(1).choices(list(alphabet), k=characters))


if __name__ == "__main__":
    main()
