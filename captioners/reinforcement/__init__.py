"""Shards to reinforce training with: what they hold, how they are read and written."""
