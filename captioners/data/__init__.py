"""Samples from anywhere, one file per source; and the drawn world that stands in for data."""
