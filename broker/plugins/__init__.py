"""Detectors that are plugged in: they look at jobs beside their way, and can flag them and nothing else."""
