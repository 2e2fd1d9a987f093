"""Kinds of captioner: one text-level interface, one module per kind."""
