"""Where a captioner runs and how precisely: device, dtype and free memory, with errors that say what is there."""

import os
import platform
from pathlib import Path

import torch

from captioners.core.errors import UserError
from captioners.images.fit import Fit
from captioners.images.preprocess import Preprocess

_BF16_CAPABILITY = (8, 0)


class OnDevice:
    """What a captioner that runs in this process says of where and how it does."""

    device: torch.device
    dtype: torch.dtype
    preprocess: Preprocess | None = None

    @property
    def fit(self) -> Fit | None:
        """How decode processes may bring pictures to its input size; None: it wants them as they are."""
        return self.preprocess.fit if self.preprocess else None

    @property
    def device_type(self) -> str:
        """`cpu` or `cuda`."""
        return self.device.type

    @property
    def environment(self) -> dict[str, str]:
        """What a caption may depend on besides its layer's meaning."""
        on_gpu = self.device.type == "cuda"
        return {
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(self.device) if on_gpu else platform.machine(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "dtype": str(self.dtype).removeprefix("torch."),
            "threads": str(torch.get_num_threads()),
        }


def device_named(name: str) -> torch.device:
    """Return the device that auto, cpu, cuda or cuda:N means; raise UserError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"no device is named '{name}'; it is auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device '{name}' is not one captioners runs on; it is auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UserError(
            f"device '{name}' is not there: torch sees {torch.cuda.device_count()} CUDA devices (`captioners doctor`)"
        )
    return device


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype that auto, fp32 or bf16 means on a device (auto: bf16 on CUDA of capability 8.0 and newer)."""
    if precision == "auto":
        able = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _BF16_CAPABILITY
        return torch.bfloat16 if able else torch.float32
    known = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if precision not in known:
        raise UserError(f"no precision is named '{precision}'; it is auto, fp32 or bf16")
    return known[precision]


def free_memory(device: torch.device) -> int:
    """Return what may be planned with, in bytes: most of a GPU's free memory, half of a machine's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * 0.9) + torch.cuda.memory_allocated(device)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return available // 2
