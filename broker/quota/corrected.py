"""What corrections changed of what was charged, as the ledger tells it of one organization. For checks."""

from collections import defaultdict
from collections.abc import Mapping
from operator import add
from typing import NamedTuple

from broker.quota.calendar import OpenWindows
from broker.quota.packing import branch
from broker.quota.rebuild import Ledger


class Corrected(NamedTuple):
    """What corrections changed of an amount. `told`: of those that the gate was told of."""

    more: int = 0
    less: int = 0
    more_told: int = 0
    less_told: int = 0


CorrectedAmounts = Mapping[tuple[str, str, int], Corrected]
"""By node, field, and place in it, as `prelude.lua` has them."""


async def corrected(organization_id: int, windows: OpenWindows, ledger: Ledger) -> CorrectedAmounts:
    sums: defaultdict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    async for totals in ledger.corrected(organization_id, windows):
        for each in totals:
            changes = (
                (0, each.nanodollars_more, each.nanodollars_less),
                (2, each.tokens_more, each.tokens_less),
            )
            for name in branch(each.project_id, each.key_id).split(","):
                for field_name in (f"d:{each.day}", f"m:{each.month}"):
                    for place, more, less in changes:
                        told = (more, less) if each.is_told else (0, 0)
                        amounts = sums[name, field_name, place]
                        amounts[:] = map(add, amounts, (more, less, *told))
    return {at: Corrected(*amounts) for at, amounts in sums.items()}
