"""Checks of the machine: Python, processor, memory, disk, fonts, torch, GPU."""

import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.doctor.finding import Finding, fail, ok, warn
from libs.ocrkit.fonts import installed_faces
from libs.runtime.settings import ServiceSettings
from services.inference.settings import host_memory_mb

PYTHON = (3, 11)
LEAST_MEMORY_MB, GOOD_MEMORY_MB = 1500, 4000
LEAST_DISK_BYTES, GOOD_DISK_BYTES = 2**30, 10 * 2**30
PROGRAM_SECONDS = 60

_CPU_INFO = Path("/proc/cpuinfo")


def python(_settings: ServiceSettings) -> Iterator[Finding]:
    """The interpreter's version."""
    said = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info >= PYTHON:
        yield ok("python", said)
    else:
        yield fail("python", said, "Install Python 3.11 or newer and run `make setup PYTHON=python3.11`.")


def processor(_settings: ServiceSettings) -> Iterator[Finding]:
    """What the processor can do, and which arithmetic the engine takes because of it."""
    flags = cpu_flags(_CPU_INFO.read_text(encoding="utf-8", errors="replace")) if _CPU_INFO.exists() else set()
    if not flags:
        yield warn("processor", f"{platform.machine()}, features unknown", "Measure with `make bench-read` whether it reads fast enough.")
    elif not {"avx2", "avx512f"} & flags:
        yield warn("processor", "no AVX2: OpenVINO reads many times slower", "Use a machine whose processor has AVX2 or AVX-512.")
    else:
        vectors = "AVX-512" if "avx512f" in flags else "AVX2"
        eight_bits = (
            "8-bit models with VNNI" if flags & {"avx512_vnni", "avx_vnni"} else "8-bit models without VNNI, at about the speed of float"
        )
        floats = "bf16" if flags & {"avx512_bf16", "amx_bf16"} else "f32"
        yield ok("processor", f"{vectors}; OpenVINO runs {eight_bits}, the rest in {floats}")


def cpu_flags(cpu_info: str) -> set[str]:
    """The features of the first core in the text of ``/proc/cpuinfo``."""
    line = next((line for line in cpu_info.splitlines() if line.startswith(("flags", "Features"))), "")
    return set(line.partition(":")[2].split())


def memory(_settings: ServiceSettings) -> Iterator[Finding]:
    """Of the machine, or of the container it is."""
    size = host_memory_mb()
    said = f"{size} MiB"
    if size < LEAST_MEMORY_MB:
        yield fail("memory", said, f"Give it {GOOD_MEMORY_MB} MiB: the services alone take about a third of that.")
    elif size < GOOD_MEMORY_MB:
        yield warn("memory", said, f"Enough to read; training is safer with {GOOD_MEMORY_MB} MiB.")
    else:
        yield ok("memory", said)


def disk(settings: ServiceSettings) -> Iterator[Finding]:
    """Free space where the state lies, or will."""
    folder = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    said = f"{free / 2**30:.1f} GiB free at {folder}"
    if free < LEAST_DISK_BYTES:
        yield fail("disk", said, "Make room, or set INKWRIGHT_HOME to a folder on a larger disk.")
    elif free < GOOD_DISK_BYTES:
        yield warn("disk", said, "A training task may take some GiB for its time; make room before a large one.")
    else:
        yield ok("disk", said)


def fonts(_settings: ServiceSettings) -> Iterator[Finding]:
    """What synthetic lines are set in, so that training does not forget characters."""
    families = {face.family for face in installed_faces()}
    said = f"{len(families)} families for synthetic lines"
    if len(families) < 2:
        remedy = (
            "Install the open fonts: `pip install 'inkwright[fonts]'`, or your system's font packages. Without them models forget more."
        )
        yield warn("fonts", said, remedy)
    else:
        yield ok("fonts", said)


def torch(_settings: ServiceSettings) -> Iterator[Finding]:
    """Whether training can load its library; tried in a process of its own, so that this one stays small."""
    code = "import torch; print(torch.__version__, torch.cuda.is_available())"
    try:
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        yield warn("torch", f"took more than {PROGRAM_SECONDS} s to load", "See whether the disk is slow, or the machine busy.")
        return
    if tried.returncode == 0:
        version, _, has_cuda = tried.stdout.strip().partition(" ")
        yield ok("torch", f"{version}, {'with' if has_cuda == 'True' else 'without'} a GPU it can use")
    else:
        last = (tried.stderr.strip().splitlines() or ["no word"])[-1]
        yield fail("torch", f"cannot be loaded: {last}", "`make setup` installs it; without it nothing can be trained, reading works.")


def gpu(_settings: ServiceSettings) -> Iterator[Finding]:
    """Whether there is an NVIDIA GPU; none is fine."""
    program = shutil.which("nvidia-smi")
    if program is None:
        yield ok("gpu", "none: training and reading use the processor")
        return
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield warn("gpu", f"nvidia-smi fails: {error}", "Reinstall the NVIDIA driver, or ignore this: the processor is used.")
        return
    if asked.returncode == 0 and asked.stdout.strip():
        yield ok("gpu", "; ".join(asked.stdout.strip().splitlines()))
    else:
        yield warn("gpu", "nvidia-smi finds none", "Load the NVIDIA driver, or ignore this: the processor is used.")
