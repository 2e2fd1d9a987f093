"""Caption shards with an ensemble, never losing or repeating a caption."""
