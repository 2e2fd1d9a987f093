"""The decoding engine: row slots fed by a bounded queue of images."""
