"""Learns the model: `python -m training.train FILE.jsonl ... [--out model.json]`."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from broker.policy.injection.windows import MARKS
from training import judge, matrix, nested, rows
from training.fit import Fitted, Settings, fit
from training.matrix import SCALES, Matrix

UNIT = 1000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="JSONL: text, label, category, source")
    parser.add_argument("--out", type=Path, help="where the model goes; none is written without it")
    parser.add_argument("--nested", action="store_true", help="judge with thresholds chosen on other folds")
    options = parser.parse_args()
    started = time.monotonic()
    entries = rows.read(options.files)
    found = matrix.build(entries)
    _say(f"{len(entries)} rows, {found.table.shape[0]} windows, {time.monotonic() - started:.0f} s")
    settings = Settings()
    best = judge.left_out(found, entries, settings)
    _say(json.dumps(judge.report(best, entries), indent=1))
    if options.nested:
        verdicts = nested.judge(found, entries, [settings])
        _say(json.dumps({"nested": nested.report(verdicts, entries)}, indent=1))
    if options.out:
        fitted = fit(found, entries, np.ones(len(entries), bool), settings)
        options.out.write_text(_document(found, fitted, judge.thresholds(best, entries), settings) + "\n")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _document(found: Matrix, fitted: Fitted, cuts: dict[str, float], settings: Settings) -> str:
    """The model as JSON of whole numbers, one family a line."""
    numbers = np.rint(fitted.coefficients * UNIT).astype(int)
    names = [rule.id for rule in found.rules]
    fields = {
        "unit": UNIT,
        "bias": round(fitted.bias * UNIT),
        "family_min": round(settings.family_min * UNIT),
        "family_max": round(settings.family_max * UNIT),
        "per_doubling": round(settings.per_doubling * UNIT),
        "thresholds": {name: round(cut * UNIT) for name, cut in cuts.items()},
        "rules": dict(zip(names, numbers[: len(names)].tolist(), strict=True)),
        "marks": dict(zip(MARKS, numbers[len(names) : found.fixed].tolist(), strict=True)),
        "words": dict(_weighing(found, fitted, "word")),
        "sequences": dict(_weighing(found, fitted, "sequence")),
    }
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def _weighing(found: Matrix, fitted: Fitted, family: str) -> Iterator[tuple[str, int]]:
    """The features of a family that weigh something, and what one of them weighs."""
    first, last = found.span(family)
    weights = np.rint(fitted.coefficients[first:last] * SCALES[family] * UNIT).astype(int).tolist()
    for feature, weight in zip(found.features[family], weights, strict=True):
        if weight:
            yield feature, weight


if __name__ == "__main__":
    main()
