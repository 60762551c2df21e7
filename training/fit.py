"""Logistic regression with priors: rules start from their strength and keep their sign.

An attack row is as suspicious as its strongest window, so after a first fit only that window stands for it;
every window of an honest row has to be honest.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import minimize

from broker.policy.injection.features import FAMILIES
from broker.policy.injection.windows import MARKS
from training.matrix import Matrix
from training.rows import Row

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Settings:
    groups_min: int = 4
    """A word or sequence counts only if it stands in so many groups of sources."""
    pull: float = 1.0
    """Regularisation of the features."""
    rule_pull: float = 6.0
    """How strongly rules are held to their strength."""
    total: float = 2000.0
    """Weight of all attacks, and of all honest rows, together."""
    group_power: float = 0.5
    """A group of n rows weighs n to this power."""
    apart_weight: float = 0.5
    """Weight of a row of the categories that are reported apart."""
    family_min: float = -1.0
    family_max: float = 5.0
    mark_strength: float = 0.5
    shape_strengths: tuple[float, ...] = (2.0, 1.0, 1.0)
    """Where learning starts for the marks of lone brackets."""
    strength_unit: float = 0.5
    first_steps: int = 20
    """Of the fit that only has to find the strongest windows."""
    steps: int = 40
    per_doubling: float = 0.25
    """What a score loses for each doubling of the number of windows."""


@dataclass(frozen=True, slots=True)
class Fitted:
    coefficients: Floats
    """By column of the matrix."""
    bias: float


def fit(found: Matrix, rows: Sequence[Row], chosen: NDArray[np.bool_], settings: Settings) -> Fitted:
    """Learns from the rows chosen. Deterministic: no random numbers."""
    lines = chosen[found.row]
    kept = _seen_in_groups(found, rows, lines, settings)
    table = found.table[lines][:, kept].tocsr()
    row = found.row[lines]
    attack = np.array([rows[n].attack for n in row])
    start = _starts(found, settings, len(kept))
    weights = _weights(rows, row, settings)
    learned = _solve(table, attack, weights, start, start, found, settings, settings.first_steps)
    strongest = ~attack | _is_strongest(table @ learned[:-1], row)
    learned = _solve(
        table[strongest],
        attack[strongest],
        _weights(rows, row[strongest], settings),
        start,
        learned,
        found,
        settings,
        settings.steps,
    )
    coefficients = np.zeros(found.table.shape[1])
    coefficients[kept] = learned[:-1]
    return Fitted(coefficients, float(learned[-1]))


def scores(found: Matrix, fitted: Fitted, lines: NDArray[np.bool_], settings: Settings) -> Floats:
    """Of each window, with each family's part clipped as the detector clips it."""
    table = found.table[lines]
    total = table[:, : found.fixed] @ fitted.coefficients[: found.fixed] + fitted.bias
    for family in FAMILIES:
        first, last = found.span(family)
        part = table[:, first:last] @ fitted.coefficients[first:last]
        total += np.clip(part, settings.family_min, settings.family_max)
    return np.asarray(total)


def for_length(found: Matrix, rows: int, settings: Settings) -> Floats:
    """What each row's score loses for its number of windows, in the steps that the detector counts."""
    number = np.bincount(found.row, minlength=rows)
    return settings.per_doubling * np.array([(int(n) ** 4).bit_length() - 1 for n in number]) / 4


def _seen_in_groups(
    found: Matrix, rows: Sequence[Row], lines: NDArray[np.bool_], settings: Settings
) -> NDArray[np.int64]:
    groups = np.array([rows[n].group for n in found.row])
    seen = np.zeros(found.table.shape[1], np.int64)
    for group in sorted(set(groups[lines])):
        columns = found.table[lines & (groups == group)].indices
        seen += np.bincount(columns, minlength=len(seen)) > 0
    kept = seen >= settings.groups_min
    kept[: found.fixed] = True
    return np.flatnonzero(kept)


def _weights(rows: Sequence[Row], row: NDArray[np.int64], settings: Settings) -> Floats:
    """Of each window: its row's share of its group, among the row's windows; both labels weigh the same."""
    sizes = Counter((rows[n].group, rows[n].attack) for n in set(row.tolist()))
    counts = Counter(row.tolist())
    attack = np.array([rows[n].attack for n in row])
    group = np.array([sizes[rows[n].group, rows[n].attack] ** (settings.group_power - 1) for n in row])
    apart = np.array([rows[n].attack and not rows[n].core for n in row])
    number = np.array([counts[n] for n in row], float)
    weights = group * np.where(apart, settings.apart_weight, 1.0) / np.where(attack, number, np.sqrt(number))
    for label in (True, False):
        weights[attack == label] *= settings.total / weights[attack == label].sum()
    return weights


def _starts(found: Matrix, settings: Settings, width: int) -> Floats:
    start = np.zeros(width + 1)
    start[: len(found.rules)] = [rule.strength * settings.strength_unit for rule in found.rules]
    start[len(found.rules) : found.fixed] = settings.mark_strength
    start[found.fixed - len(settings.shape_strengths) : found.fixed] = settings.shape_strengths
    return start


def _is_strongest(values: Floats, row: NDArray[np.int64]) -> NDArray[np.bool_]:
    best: dict[int, int] = {}
    for line, number in enumerate(row.tolist()):
        if number not in best or values[line] > values[best[number]]:
            best[number] = line
    strongest = np.zeros(len(row), bool)
    strongest[list(best.values())] = True
    return strongest


def _solve(
    table: sparse.csr_matrix, attack: NDArray[np.bool_], weights: Floats, prior: Floats, start: Floats,
    found: Matrix, settings: Settings, steps: int,
) -> Floats:  # fmt: skip
    pulls = np.full(table.shape[1], settings.pull)
    pulls[: found.fixed] = settings.rule_pull
    turned = table.T.tocsr()
    sign = np.where(attack, -1.0, 1.0)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        off = parameters[:-1] - prior[:-1]
        margin = sign * (table @ parameters[:-1] + parameters[-1])
        slope = weights * sign / (1 + np.exp(-margin))
        value = (weights * np.logaddexp(0, margin)).sum() + 0.5 * (pulls * off * off).sum()
        return value, np.append(turned @ slope + pulls * off, slope.sum())

    options = {"maxiter": steps, "maxcor": 10}
    return minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=_bounds(found, len(prior)), options=options
    ).x


def _bounds(found: Matrix, width: int) -> list[tuple[float | None, float | None]]:
    signs = [(None, 0.0) if rule.benign else (0.0, None) for rule in found.rules]
    return [*signs, *[(0.0, None)] * len(MARKS), *[(None, None)] * (width - found.fixed)]
