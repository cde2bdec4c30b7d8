"""What this machine's devices can be trusted with: CPU flags, memory, bfloat16, the compilation cache.

Nothing happens at import. A program calls `keep_memory`, `configure_cpu` and `enable_compilation_cache`
before it touches a device; whoever wants bfloat16 asks `usable_precision`.
"""

import ctypes
import functools
import json
import os
import platform
import shutil
import subprocess
import sys
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax import lax

from jtrack.errors import JtrackError
from jtrack.names import match
from jtrack.precision import PRECISIONS
from jtrack.types import Array
from jtrack.whole import write_whole

# oneDNN convolutions are what makes bfloat16 fast on CPU (and float32 faster). Without YNN fusions
# jaxlib >= 0.11.2 computes a bfloat16 VGG block rightly; with them, wrongly.
CPU_FLAGS = (
    "--xla_cpu_experimental_onednn_custom_call=true",
    "--xla_cpu_experimental_ynn_fusion_type=",
)


# Parameters of glibc's mallopt, and what keeps memory: no block has a mapping of its own, nothing is given
# back (-1: whatever its size), the heap grows by 256 MiB at a time, and there is one heap for all threads.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
KEEPING = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1, M_TOP_PAD: 2**28, M_ARENA_MAX: 1}


def keep_memory() -> bool:
    """Lets this process keep the memory that it frees, which makes networks on CPU up to a third quicker.

    Every call of a compiled function takes memory for its maps and frees it. The C library of Linux returns
    large blocks to the system at once, which hands them out again page by page, cleared. Kept, the memory of
    a process stays at least as large as it once was.

    For programs and notebooks, before any array is made: what was taken before is not concerned. Where the
    user has set the C library's own variables (MALLOC_..., GLIBC_TUNABLES), or it is another library than
    glibc, nothing is done. A library that replaces glibc's allocator (LD_PRELOAD) takes no notice.

    Returns:
      Whether glibc will keep it.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return False
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(parameter, value) == 1 for parameter, value in KEEPING.items()])


def configure_cpu() -> tuple[str, ...]:
    """Appends to XLA_FLAGS what makes convolutions on CPU right in bfloat16 and fast.

    For programs and notebooks, before any array is made: XLA reads its flags when it starts its devices. A
    flag that XLA_FLAGS already holds keeps the user's value. A flag that the installed jaxlib does not know
    would abort the process, so each is tried once per jaxlib version in a process of its own, and the answer
    is remembered in the user's cache folder.

    A program with oneDNN convolutions cannot be kept by the compilation cache (XLA fails to write it and says
    so in a warning), so that it compiles in every process. The command line therefore calls this for
    bfloat16 only, where the convolutions are several times quicker.

    Returns:
      The flags of `CPU_FLAGS` that this jaxlib knows.

    Raises:
      JtrackError: a device has been touched already, and XLA_FLAGS lacks one of the flags.
    """
    known = tuple(flag for flag in CPU_FLAGS if _is_known(flag))
    present = {flag.partition("=")[0] for flag in os.environ.get("XLA_FLAGS", "").split()}
    missing = [flag for flag in known if flag.partition("=")[0] not in present]
    if missing and _touched():
        raise JtrackError(
            "configure_cpu() came after JAX had started its devices, when XLA no longer reads its flags: "
            "call it before the first array is made, or start Python with "
            f'XLA_FLAGS="{" ".join(missing)}"'
        )
    if missing:
        os.environ["XLA_FLAGS"] = " ".join([*os.environ.get("XLA_FLAGS", "").split(), *missing])
    return known


def _touched() -> bool:
    """Whether a backend is running. JAX has no public question that does not start one."""
    return jax._src.xla_bridge.backends_are_initialized()


def _is_known(flag: str) -> bool:
    path = _cache_folder() / "xla_flags.json"
    key = f"jaxlib {jaxlib.__version__} {flag}"
    try:
        answers = json.loads(path.read_text())
        answer = answers.get(key)
    except (OSError, ValueError, AttributeError):
        answers, answer = {}, None
    if isinstance(answer, bool):
        return answer
    answer = _try(flag)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, json.dumps(answers | {key: answer}, indent=1))
    except OSError:
        pass  # A cache that cannot be written is asked again next time.
    return answer


def _try(flag: str) -> bool:
    environment = os.environ | {"XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, "-c", "import jax; jax.devices()"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if result.returncode and "Unknown flag" not in result.stderr:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise JtrackError(f"JAX does not start on the CPU with XLA_FLAGS={flag}: {last}")
    return result.returncode == 0


def _cache_folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("jtrack", appauthor=False)


def bf16_self_test() -> bool:
    """Computes a small VGG block in bfloat16 on the default device and checks it against float32.

    Two 3x3 convolutions with bias and ReLU and a 2x2 maximum on 16 x 16 pixels: the smallest network known to
    come out wrong where XLA's bfloat16 is broken.

    Returns:
      Whether every output is finite and within 5 % of the largest.
    """
    rng = np.random.default_rng(0)
    arguments = (
        rng.uniform(size=(1, 16, 16, 3)),
        rng.normal(scale=0.2, size=(3, 3, 3, 64)),
        rng.normal(scale=0.06, size=(3, 3, 64, 64)),
        rng.normal(scale=0.1, size=(64,)),
    )
    found, expected = (
        np.asarray(jax.jit(_vgg_block)(*(jnp.asarray(x, dtype) for x in arguments)).astype(jnp.float32))
        for dtype in (jnp.bfloat16, jnp.float32)
    )
    return bool(np.all(np.abs(found - expected) <= 0.05 * np.abs(expected).max()))


def _vgg_block(x: Array, first: Array, second: Array, bias: Array) -> Array:
    for kernel in (first, second):
        x = lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = jax.nn.relu(x + bias.reshape(1, 1, 1, -1))
    # The window reduction is part of what goes wrong: `backbones` pools in another way.
    return lax.reduce_window(x, jnp.array(-jnp.inf, x.dtype), lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


@functools.cache
def _bf16_works() -> bool:
    """Whether bfloat16 may be used in this process; tested, and said, once."""
    works = jax.default_backend() != "cpu" or bf16_self_test()
    if not works:
        warnings.warn(
            f"bfloat16 convolutions come out wrong on this CPU with jaxlib {jaxlib.__version__}, float32 is "
            "used instead: call jtrack.configure_cpu() before the first array is made, or set "
            f'XLA_FLAGS="{" ".join(CPU_FLAGS)}"',
            stacklevel=3,
        )
    return works


@functools.cache
def _tf32_works() -> bool:
    """Whether the default device multiplies in TF32; that it does not is said once."""
    device = jax.devices()[0]
    # NVIDIA's since Ampere, "8.0". What other devices call a capability is no such number.
    major = str(getattr(device, "compute_capability", "")).partition(".")[0]
    works = device.platform == "gpu" and major.isdecimal() and int(major) >= 8
    if not works:
        warnings.warn(
            f"{device.device_kind} ({device.platform}) has no TF32, float32 is used instead: TF32 needs an "
            "NVIDIA GPU of compute capability 8.0 or newer; `jtrack doctor` says what devices there are",
            stacklevel=3,
        )
    return works


def usable_precision(requested: str) -> str:
    """The precision to compute with.

    Args:
      requested: one of `jtrack.precision.PRECISIONS`.

    Returns:
      `requested`; but "float32" in place of "bfloat16" on a CPU that fails `bf16_self_test`, and in place of
      "tf32" where the default device is no GPU that has it, each with one warning in a process.

    Raises:
      JtrackError: another precision was requested.
    """
    requested = match("precision", requested, PRECISIONS)
    if requested == "float32":
        return requested
    return requested if (_tf32_works() if requested == "tf32" else _bf16_works()) else "float32"


def nvidia_gpu(root: Path = Path("/")) -> str | None:
    """What says that this machine has an NVIDIA GPU, whether or not JAX can use it.

    Args:
      root: where the system's folders `dev` and `proc` are.

    Returns:
      A path: of the GPU's device file, of its driver, or of `nvidia-smi`; None where there is none of them.
    """
    files = [*sorted(root.glob("dev/nvidia[0-9]*")), *root.glob("proc/driver/nvidia")]
    return str(files[0]) if files else shutil.which("nvidia-smi")


def has_cuda() -> bool:
    """Whether JAX's plugin for CUDA is installed. jaxlib by itself knows the CPU alone."""
    return any("cuda" in plugin.name for plugin in entry_points(group="jax_plugins"))


def enable_compilation_cache(folder: Path | None = None) -> Path:
    """Keeps compiled programs on disk, also the small and quick ones that JAX by default does not.

    Call it before the first compilation. Whoever can write into the folder can run code in this process, so
    it belongs to the user alone.

    Args:
      folder: where to keep them; the user's cache folder when not given.

    Returns:
      The folder.

    Raises:
      JtrackError: the folder cannot be made.
    """
    folder = Path(folder) if folder else _cache_folder() / "xla"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JtrackError(
            f"the compilation cache {folder} cannot be made ({error.strerror}): name another folder"
        ) from error
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder
