"""A document that has proved fit to decide, under the name of its content."""

from hashlib import sha256
from typing import Final, NamedTuple

from broker.policy.answers.checks import unusable
from broker.policy.compiled import Compiled, Judged, compile_source
from broker.policy.document import Document, Source, canonical, read_document
from broker.policy.examples import Trial, probes, trials
from broker.policy.finding import faults
from schemas.requests import RequestRefused

_FAILS: Final = (
    "fails on an ordinary job or yields no boolean, as where a text is compared with a number, "
    "or an entry is read that a list may lack"
)


class PolicyRevision(NamedTuple):
    """`id`: SHA-256 of the document's canonical form, in hexadecimal. `text`: as it was handed in."""

    id: str
    text: str
    document: Document
    compiled: Compiled

    @classmethod
    def load(cls, text: str | bytes) -> "PolicyRevision":
        """Compiled, and every embedded test run. Raises PolicyInvalid, which names line, rule and reason.

        Takes milliseconds for an ordinary document, up to a second for the largest: not for the event loop.
        """
        source = read_document(text)
        id_ = sha256(canonical(source.document)).hexdigest()
        compiled = compile_source(source, id_)
        _check_dlp(source)
        _check_words(source)
        _check_probes(source, compiled)
        _check_tests(source, compiled)
        decoded = text if isinstance(text, str) else text.decode()
        return cls(id_, decoded, source.document, compiled)


def _check_dlp(source: Source) -> None:
    for reason, path in faults(source.document.dlp):
        raise source.invalid(reason, path)


def _check_words(source: Source) -> None:
    for reason, path in unusable(source.document.answer):
        raise source.invalid(reason, path)


def _check_probes(source: Source, compiled: Compiled) -> None:
    """A condition that compares a text with a number is well formed, and would deny every job."""
    jobs = tuple(probes(source.document.dlp.types))
    for stage in compiled.stages.values():
        for judged in stage.every:
            if any(judged.holds(facts) is None for facts in jobs):
                path = (*judged.clause.path, "when")
                raise source.invalid(f"when: {_FAILS}", path)


def _check_tests(source: Source, compiled: Compiled) -> None:
    for number, rule in enumerate(source.document.rules):
        judged = compiled.judged(rule.id)
        for trial in _trials(source, number):
            if (reason := _disagreement(judged, trial)) is not None:
                raise source.invalid(reason, trial.path)


def _trials(source: Source, number: int) -> tuple[Trial, ...]:
    try:
        return tuple(trials(source.document.rules[number], number))
    except RequestRefused as refused:
        param = f"{refused.param} " if refused.param else ""
        raise source.invalid(
            f"a test's request would be refused: {param}{refused.message}", ("rules", number, "tests")
        ) from None


def _disagreement(judged: Judged, trial: Trial) -> str | None:
    matches = judged.takes(trial.facts) and judged.holds(trial.facts)
    if matches is None:
        return "the condition fails on this test"
    if matches is trial.matches:
        return None
    return "should match and does not" if trial.matches else "should not match and does"
