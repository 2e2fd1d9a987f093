"""Feed the reinforcement stage: augmentations, embeddings, and the shards that MobileCLIP's trainer reads."""
