"""How lanes share whatever there is too little of, wherever they meet."""

from collections.abc import Mapping
from typing import Final

LANE_WEIGHTS: Final[Mapping[str, int]] = {"interactive": 16, "standard": 4, "bulk": 1}
