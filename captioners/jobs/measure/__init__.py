"""Measure the captions of a run."""
