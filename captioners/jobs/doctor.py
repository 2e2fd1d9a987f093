"""What this machine has, for `captioners doctor`: versions, devices, extras, codecs, caches, disk, and nothing secret.

Environment variables are read by name, from a short list of switches that hold no secrets; the home directory is shown
as ~.
"""

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path

from PIL import features

_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
_CODECS = {"jpeg": "jpg", "png": "zlib", "webp": "webp", "tiff": "libtiff", "avif": "avif", "jpeg 2000": "jpg_2000"}
_MOST_FILES_SIZED = 100_000

Rows = list[tuple[str, str]]


def examine() -> dict[str, Rows]:
    """Return section title -> (name, finding) rows; a part that cannot be examined says why instead."""
    sections: dict[str, Callable[[], Rows]] = {
        "Versions": _versions,
        "Devices": _devices,
        "Extras": _extras,
        "Image codecs": _codecs,
        "Caches": _caches,
        "Disk free": _disk,
    }
    return {title: [(name, _homeless(text)) for name, text in _safely(rows)] for title, rows in sections.items()}


def _safely(rows: Callable[[], Rows]) -> Rows:
    try:
        return rows()
    except Exception as error:  # a doctor must not die of what it examines: a broken torch is a finding
        return [("not examined", f"{type(error).__name__}: {error}")]


def _homeless(text: str) -> str:
    home = str(Path.home())
    return re.sub(rf"{re.escape(home)}(?=/|\s|$)", "~", text) if len(home) > 1 else text


def _versions() -> Rows:
    rows = [("python", f"{platform.python_version()} ({platform.python_implementation()})"), ("system", _system())]
    for name in ["captioners", *(package for package, extra in _requirements() if not extra)]:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            rows.append((name, "absent; reinstall captioners"))
    return rows


def _system() -> str:
    libc = " ".join(platform.libc_ver()).strip()
    return ", ".join(part for part in (platform.system(), platform.release(), platform.machine(), libc) if part)


def _devices() -> Rows:
    import torch  # here, so that a broken torch is one finding and not the end of the doctor

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    rows = [
        ("cpu", f"{_cpu_name()}, {usable} of {os.cpu_count()} cores usable"),
        ("cpu capability", torch.backends.cpu.get_cpu_capability()),
        ("torch threads", str(torch.get_num_threads())),
        ("memory", _memory()),
        ("torch built for", f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"),
    ]
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        size = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        rows.append((f"cuda:{index}", f"{gpu.name}, capability {gpu.major}.{gpu.minor}, {size}"))
    if not torch.cuda.is_available():
        rows.append(("cuda", "no device"))
    if torch.backends.mps.is_available():
        rows.append(("mps", "present, not used by captioners"))
    return rows


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or "unknown"


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    limit = Path("/sys/fs/cgroup/memory.max")
    capped = limit.read_text().strip() if limit.exists() else "max"
    note = f", of which this container may use {int(capped) / 2**30:.1f} GiB" if capped.isdigit() else ""
    return f"{total / 2**30:.1f} GiB{note}"


def _extras() -> Rows:
    wanted: dict[str, list[str]] = {}
    for package, extra in _requirements():
        if extra:
            wanted.setdefault(extra, []).append(package)
    rows = []
    for extra, packages in wanted.items():
        absent = [package for package in packages if not _installed(package)]
        line = f"absent ({', '.join(absent)}); pip install 'captioners[{extra}]'" if absent else "present"
        rows.append((extra, line))
    return rows


def _requirements() -> list[tuple[str, str]]:
    """Return (package, extra it belongs to, or "") as the installed metadata says."""
    found = (
        re.match(r"([A-Za-z0-9_.-]+)(?:.*extra == ['\"]([a-z0-9_-]+))?", line) for line in requires("captioners") or []
    )
    return [(match[1], match[2] or "") for match in found if match]


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _codecs() -> Rows:
    rows = [(name, "yes" if features.check(codec) else "no") for name, codec in _CODECS.items()]
    rows.append(("gif", "yes"))
    rows.append(("heif", "yes" if find_spec("pillow_heif") else "no; pip install 'captioners[heif]'"))
    return rows


def _caches() -> Rows:
    hub = _hub_cache()
    torch_home = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch"))
    rows = [("Hugging Face hub", _sized(hub)), ("torch", _sized(torch_home))]
    return rows + [(name, os.environ.get(name, "not set")) for name in _SWITCHES]


def _hub_cache() -> Path:
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).expanduser()


def _sized(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} (not there yet)"
    sizes = [size for size, _ in zip(_file_sizes(folder), range(_MOST_FILES_SIZED), strict=False)]
    more = "at least " if len(sizes) == _MOST_FILES_SIZED else ""
    return f"{folder} ({more}{sum(sizes) / 1e9:.2f} GB)"


def _file_sizes(folder: Path) -> Iterator[int]:
    # Links aren't followed: a hub snapshot links to the blobs that are counted already.
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.is_file() and not path.is_symlink():
                yield path.stat().st_size


def _disk() -> Rows:
    places = {"here": Path.cwd(), "temporary files": Path(tempfile.gettempdir()), "weights": _hub_cache()}
    rows = []
    for name, place in places.items():
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        rows.append((name, f"{shutil.disk_usage(there).free / 1e9:.1f} GB at {place}"))
    return rows
