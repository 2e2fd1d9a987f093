"""Make and repack data sets."""
