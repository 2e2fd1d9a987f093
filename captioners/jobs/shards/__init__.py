"""Look after sets of shards."""
