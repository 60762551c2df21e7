"""Recall on sources left out, at thresholds that give a share of false positives on sources left out."""

from collections import defaultdict
from collections.abc import Sequence
from math import ceil

import numpy as np

from training.fit import Floats, Settings, fit, for_length, scores
from training.matrix import Matrix
from training.rows import FOLDS, Row

RATES = {"fp_0_5": 0.005, "fp_1": 0.01, "fp_3": 0.03}


def left_out(found: Matrix, rows: Sequence[Row], settings: Settings) -> Floats:
    """Of each row its highest window, by a model that saw no source of the row's fold."""
    folds = np.array([row.fold for row in rows])
    best = np.full(len(rows), -np.inf)
    for fold in range(FOLDS):
        fitted = fit(found, rows, folds != fold, settings)
        lines = folds[found.row] == fold
        np.maximum.at(best, found.row[lines], scores(found, fitted, lines, settings))
    return best - for_length(found, len(rows), settings)


def thresholds(best: Floats, rows: Sequence[Row]) -> dict[str, float]:
    honest = np.sort([value for value, row in zip(best, rows, strict=True) if not row.attack])[::-1]
    return {name: float(honest[ceil(rate * len(honest))]) for name, rate in RATES.items()}


def report(best: Floats, rows: Sequence[Row]) -> dict[str, object]:
    cuts = thresholds(best, rows)
    core = np.array([row.core for row in rows])
    figures: dict[str, object] = {
        name: round(float((best[core] > cut).mean()), 3) for name, cut in cuts.items()
    }
    shown = defaultdict(list)
    for value, row in zip(best, rows, strict=True):
        flagged = bool(value > cuts["fp_1"])
        if row.attack:
            shown[f"recall, {row.category}"].append(flagged)
            if row.core:
                shown[f"recall, {row.group}"].append(flagged)
                shown[f"recall, fold {row.fold}"].append(flagged)
        else:
            shown[f"false positives, {row.group}"].append(flagged)
    at_one = {name: (round(sum(hits) / len(hits), 3), len(hits)) for name, hits in sorted(shown.items())}
    return {**figures, "at_fp_1": at_one}
