"""The readers that are held to the same: with CI=true both have to be there."""

import os
from collections.abc import Mapping
from functools import cache

from broker.policy.injection import model, rules
from broker.policy.injection.interpreted import InterpretedReader
from broker.policy.injection.lexicon import Lexicon
from broker.policy.injection.readers import COMPILED, Make
from broker.policy.injection.reading import Reader
from broker.policy.injection.rules import RulePack

KINDS: dict[str, Make] = {"interpreted": InterpretedReader}
if COMPILED or os.environ.get("CI") == "true":
    from broker.policy.injection.compiled import compiled_reader

    KINDS["compiled"] = compiled_reader


@cache
def loaded() -> tuple[RulePack, Lexicon]:
    return rules.load()


@cache
def readers() -> Mapping[str, Reader]:
    """By kind, of the packaged rules and model."""
    pack, words = loaded()
    weights = model.load().weights(words)
    return {kind: make(pack.over_concepts, words, weights) for kind, make in KINDS.items()}
