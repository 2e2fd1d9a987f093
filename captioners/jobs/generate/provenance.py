"""What a layer's file and a unit's entry say of where their captions come from."""

import json
import platform
from importlib.metadata import version

from captioners.core.layers import Layer
from captioners.kinds.captioner import Captioner


def facts_of(layer: Layer, captioner: Captioner) -> dict[str, str]:
    """Return what a layer's file says of itself; neither time, host nor path is in it."""
    return {
        "fingerprint": layer.fingerprint,
        "member": layer.name,
        "captioner": captioner.info.name,
        "weights": captioner.info.weights_digest,
        "decoding": json.dumps(layer.meaning["decoding"], sort_keys=True),
        "package": version("captioners"),
        "device": captioner.device_type,
        "dtype": captioner.environment["dtype"],
    }


def environment_of(captioner: Captioner) -> dict[str, str]:
    """Return what a caption may depend on besides its layer's meaning."""
    return {
        "captioners": version("captioners"),
        "python": platform.python_version(),
        "grade": captioner.info.grade,
        **captioner.environment,
    }
