"""Statements: what a provider's invoice or export of usage says of charges that were estimated."""
