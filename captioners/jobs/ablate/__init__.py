"""Ablations: arms of captions made, measured and probed; only what is missing is done."""
