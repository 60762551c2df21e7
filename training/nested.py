"""Nested judging: settings and thresholds are chosen without the fold that they are then judged on.

For each fold of sources, models that saw neither it nor one other fold score that other fold; by these
scores the settings and the thresholds are chosen. A model of all other folds, with what was chosen, then
judges the fold.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from training.fit import Floats, Settings, fit, for_length, scores
from training.judge import RATES, thresholds
from training.matrix import Matrix
from training.rows import FOLDS, Row

Pairs = Mapping[tuple[int, int], Floats]
"""By two folds that a model did not see: what it gives to each row."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a row: its score and the thresholds for its fold, by rate."""

    score: float
    cuts: Mapping[str, float]


def judge(found: Matrix, rows: Sequence[Row], choices: Sequence[Settings]) -> list[Verdict]:
    """The verdict on each row, in order, by the settings that were the best without the row's fold."""
    folds = np.array([row.fold for row in rows])
    tried = [_pairs(found, rows, settings) for settings in choices]
    verdicts: dict[int, Verdict] = {}
    for fold in range(FOLDS):
        others = np.flatnonzero(folds != fold)
        kept = [rows[n] for n in others]
        core = np.array([row.core for row in kept])
        inner = [_inner(pairs, folds, fold)[others] for pairs in tried]
        cuts = [thresholds(scored, kept) for scored in inner]
        chosen = max(range(len(choices)), key=lambda n: _worth(inner[n][core], cuts[n]))
        outer = tried[chosen][fold, fold]
        verdicts |= {int(n): Verdict(float(outer[n]), cuts[chosen]) for n in np.flatnonzero(folds == fold)}
    return [verdicts[n] for n in range(len(rows))]


def report(verdicts: Sequence[Verdict], rows: Sequence[Row]) -> dict[str, object]:
    """Recall of the core and the share of honest rows flagged, by rate; at 1 % by category and source too."""
    judged = list(zip(verdicts, rows, strict=True))
    figures: dict[str, object] = {}
    for rate in RATES:
        flagged = [(row, verdict.score > verdict.cuts[rate]) for verdict, row in judged]
        figures[rate] = {
            "recall": _share([hit for row, hit in flagged if row.core]),
            "false positives": _share([hit for row, hit in flagged if not row.attack]),
        }
    shown: dict[str, list[bool]] = defaultdict(list)
    for verdict, row in judged:
        hit = verdict.score > verdict.cuts["fp_1"]
        kind = "recall" if row.attack else "false positives"
        shown[f"{kind}, {row.category}"].append(hit)
        if row.core or not row.attack:
            shown[f"{kind}, of {row.group}"].append(hit)
    return {**figures, "at_fp_1": {name: (_share(hits), len(hits)) for name, hits in sorted(shown.items())}}


def _pairs(found: Matrix, rows: Sequence[Row], settings: Settings) -> Pairs:
    folds = np.array([row.fold for row in rows])
    taken = for_length(found, len(rows), settings)
    given = {}
    for first, second in combinations_with_replacement(range(FOLDS), 2):
        fitted = fit(found, rows, (folds != first) & (folds != second), settings)
        lines = np.isin(folds[found.row], (first, second))
        best = np.full(len(rows), -np.inf)
        np.maximum.at(best, found.row[lines], scores(found, fitted, lines, settings))
        given[first, second] = given[second, first] = best - taken
    return given


def _inner(pairs: Pairs, folds: NDArray[np.int64], left_out: int) -> Floats:
    """Of each row of the other folds what a model gave that saw neither its fold nor the one left out."""
    best = np.full(len(folds), -np.inf)
    for fold in range(FOLDS):
        if fold != left_out:
            best[folds == fold] = pairs[left_out, fold][folds == fold]
    return best


def _worth(core: Floats, cuts: Mapping[str, float]) -> float:
    return float(np.mean([(core > cut).mean() for cut in cuts.values()]))


def _share(hits: Sequence[bool]) -> float:
    return round(sum(hits) / max(len(hits), 1), 4)
