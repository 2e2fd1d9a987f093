"""The job `reinforce`: captioned shards in, shards with augmentations and teachers' embeddings out."""
