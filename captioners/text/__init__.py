"""Tokenizers, and the rules that make text clean."""
