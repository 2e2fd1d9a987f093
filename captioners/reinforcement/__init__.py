"""The reinforcement stage: frozen teachers, augmentations that can be replayed, and the shards that trainers read."""
