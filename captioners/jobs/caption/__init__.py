"""Caption pictures, a folder or shards in one process: a quick look."""
