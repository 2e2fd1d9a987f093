"""Measure speed, side by side with others, and say what was measured."""
