"""captioners: the captioner-teacher half of multi-modal reinforced training."""

__version__ = "0.1.0"
