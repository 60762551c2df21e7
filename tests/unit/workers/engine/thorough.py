"""How many examples the engine's rules are held against: they are what the promises rest on."""

from hypothesis import settings

THOROUGH = settings(max_examples=1_000)
