"""The section `dlp` of a document as a finder of its types."""

from collections.abc import Iterator

from broker.policy.dlp.errors import DlpRulesInvalid
from broker.policy.dlp.finder import Finder
from broker.policy.dlp.spans import Kind
from broker.policy.document import Fault
from broker.policy.sections import Dlp
from broker.policy.yaml_tree import Path


def finder_of(dlp: Dlp) -> Finder:
    """Finds every built-in type but persons, and the document's own.

    Raises DlpRulesInvalid, but not for the section of a revision that was loaded.
    """
    return Finder(
        kinds=[kind for kind in Kind if kind is not Kind.PERSON],
        regions=dlp.phone_regions,
        dictionaries={entry.type: entry.words for entry in dlp.dictionaries},
        patterns={entry.type: entry.pattern for entry in dlp.patterns},
    )


def faults(dlp: Dlp) -> Iterator[Fault]:
    """What the finder would not take, each with its place in the document."""
    for number, dictionary in enumerate(dlp.dictionaries):
        yield from _fault(Dlp(dictionaries=(dictionary,)), (), ("dlp", "dictionaries", number))
    for number, pattern in enumerate(dlp.patterns):
        yield from _fault(Dlp(patterns=(pattern,)), (), ("dlp", "patterns", number, "pattern"))
    if dlp.phone_regions != Dlp().phone_regions:
        yield from _fault(Dlp(phone_regions=dlp.phone_regions), (Kind.PHONE,), ("dlp", "phone_regions"))


def _fault(dlp: Dlp, kinds: tuple[Kind, ...], path: Path) -> Iterator[Fault]:
    try:
        Finder(
            kinds,
            dlp.phone_regions,
            {entry.type: entry.words for entry in dlp.dictionaries},
            {entry.type: entry.pattern for entry in dlp.patterns},
        )
    except DlpRulesInvalid as error:
        yield str(error), path
