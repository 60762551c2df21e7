"""The crucible: real servers and workers under load and faults, and a checker of what came of it."""
