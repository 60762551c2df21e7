"""Trying detectors and policies on files, before they decide about jobs."""
