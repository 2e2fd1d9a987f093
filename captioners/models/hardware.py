"""What named GPUs can do, from their makers' data sheets: peak arithmetic and memory. Torch-free."""

import re
from dataclasses import dataclass

from captioners.core.errors import NotFoundError, UserError, near


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU."""

    name: str
    about: str
    bf16: float
    """Dense bf16 products with fp32 sums, 1e12 operations a second; data sheets like to print twice that, "sparse"."""
    fp32: float
    """The same in fp32, without TF32."""
    memory: float
    """GiB, as the driver reports them."""
    reported: str
    """What the driver's name of it ends with, as a pattern."""


GPUS = (
    Gpu("a100-40", "NVIDIA A100, 40 GB", 312, 19.5, 40.0, "A100.*40GB"),
    Gpu("a100-80", "NVIDIA A100, 80 GB", 312, 19.5, 80.0, "A100.*80GB"),
    Gpu("h100", "NVIDIA H100 SXM, 80 GB", 989, 67, 79.6, "H100 80GB HBM3"),
    Gpu("h200", "NVIDIA H200 SXM, 141 GB", 989, 67, 140.4, "H200"),
    Gpu("l40s", "NVIDIA L40S, 48 GB", 362, 91.6, 45.0, "L40S"),
    Gpu("l4", "NVIDIA L4, 24 GB", 121, 30.3, 22.5, "L4"),
    Gpu("a10", "NVIDIA A10, 24 GB", 125, 31.2, 22.5, "A10"),
    Gpu("rtx-a6000", "NVIDIA RTX A6000, 48 GB", 154.8, 38.7, 48.0, "RTX A6000"),
    Gpu("rtx-5090", "NVIDIA GeForce RTX 5090, 32 GB", 209.5, 104.8, 31.8, "RTX 5090"),
    Gpu("rtx-4090", "NVIDIA GeForce RTX 4090, 24 GB", 165.2, 82.6, 24.0, "RTX 4090"),
    Gpu("rtx-3090", "NVIDIA GeForce RTX 3090, 24 GB", 71, 35.6, 24.0, "RTX 3090"),
    Gpu("rtx-3060", "NVIDIA GeForce RTX 3060, 12 GB", 25.5, 12.7, 12.0, "RTX 3060"),
)


def gpu_reported(device: str) -> Gpu | None:
    """Return the GPU that a driver calls so; None for one that is not known, or is cut or sold otherwise.

    >>> found = [gpu_reported(name) for name in ("NVIDIA H100 80GB HBM3", "NVIDIA L40S", "NVIDIA H100 PCIe", "x86_64")]
    >>> [gpu and gpu.name for gpu in found]
    ['h100', 'l40s', None, None]
    """
    return next((gpu for gpu in GPUS if re.fullmatch(rf"(.* )?{gpu.reported}", device)), None)


@dataclass(frozen=True)
class Fleet:
    """So many GPUs of one kind."""

    gpu: Gpu
    count: int

    def __str__(self) -> str:
        """Return it as a person writes it: `256 x a100-40`."""
        return f"{self.count:,} x {self.gpu.name}"


def parse_fleet(text: str) -> Fleet:
    """Return what `NAME` or `NAME:COUNT` means.

    >>> str(parse_fleet("h100:8")), str(parse_fleet("rtx-4090"))
    ('8 x h100', '1 x rtx-4090')

    Raises:
        NotFoundError: no GPU of that name is known; near names are given. UserError: the count is no whole number.
    """
    name, colon, count = text.strip().partition(":")
    known = {gpu.name: gpu for gpu in GPUS}
    if name.lower() not in known:
        raise NotFoundError(f"no GPU is known as '{name}'.{near(name.lower(), known)} Known: {', '.join(known)}")
    if colon and not (count.isdecimal() and int(count)):
        raise UserError(
            f"'{text}': how many GPUs is no whole number; write {name.lower()}:8, or {name.lower()} for one"
        )
    return Fleet(known[name.lower()], int(count or 1))
