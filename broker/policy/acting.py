"""Which documents may be activated: those whose every rule is acted on.

Targets have no regions to choose by, and answers are not judged.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from broker.policy.document import read_document
from broker.policy.yaml_tree import Path

if TYPE_CHECKING:
    from broker.policy.compiled import Judged
    from broker.policy.revision import PolicyRevision


def check(revision: "PolicyRevision") -> None:
    """Raises PolicyInvalid with the line, the rule and what it asks for in vain."""
    for reason, path in _not_acted_on(revision):
        raise read_document(revision.text).invalid(reason, path)


def _not_acted_on(revision: "PolicyRevision") -> Iterator[tuple[str, Path]]:
    stages = revision.compiled.stages
    for judged in stages["request"].every:
        yield from _of_request(judged)
    for judged in stages["answer"].every:
        yield "answers are not judged: a rule about them would do nothing", judged.clause.path


def _of_request(judged: "Judged") -> Iterator[tuple[str, Path]]:
    clause = judged.clause
    if clause.regions:
        yield "regions: targets have no regions, so no job can be sent by them", clause.path
    if "regions" in judged.expression.reads:
        yield "when: targets have no regions, so `regions` is empty for every job", (*clause.path, "when")
