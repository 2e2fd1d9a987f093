"""Bytes -> pixels -> a captioner's input."""
