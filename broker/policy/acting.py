"""Which documents may be activated: those whose every rule is acted on. Answers are not judged."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from broker.policy.document import read_document
from broker.policy.yaml_tree import Path

if TYPE_CHECKING:
    from broker.policy.revision import PolicyRevision


def check(revision: "PolicyRevision") -> None:
    """Raises PolicyInvalid with the line, the rule and what it asks for in vain."""
    for reason, path in _not_acted_on(revision):
        raise read_document(revision.text).invalid(reason, path)


def _not_acted_on(revision: "PolicyRevision") -> Iterator[tuple[str, Path]]:
    stages = revision.compiled.stages
    for judged in stages["answer"].every:
        yield "answers are not judged: a rule about them would do nothing", judged.clause.path
