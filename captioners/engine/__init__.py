"""The decoding engine: row slots fed by a bounded queue of images."""

ENGINE_SEMANTICS = 1
"""Raised when the engine writes other captions than before from the same weights; part of a layer's fingerprint."""
