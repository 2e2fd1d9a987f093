"""CoCa as tensors: build, load, resize, and the maths of one decoding step. Knows no text and no files of ours."""
