"""`jtrack doctor`: what is installed, what is in force, and whether the numbers come out right."""

import os
import platform
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import typer

from jtrack import __version__, devices
from jtrack.cli import outputs
from jtrack.cli.track import CACHE_WARNING
from jtrack.errors import install
from jtrack.trackers import default_backbone
from jtrack.types import Frame
from jtrack.vision.crop import crop
from jtrack.weights import store

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "av", "opencv-python", "opencv-python-headless")

app = typer.Typer(add_completion=False)


@app.command()
def doctor() -> None:
    """Says what is installed and in force, and runs the numeric self-tests; exit code 1 if one fails."""
    warnings.filterwarnings("ignore", CACHE_WARNING)
    flags = devices.configure_cpu()
    cache = devices.enable_compilation_cache()
    say("system", f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} CPU cores")
    found = [("jtrack", __version__)] + [(name, installed(name)) for name in PACKAGES]
    say("packages", ", ".join(f"{name} {number}" for name, number in found if number))
    say("devices", ", ".join(f"{device.device_kind} ({device.platform})" for device in jax.devices()))
    if words := unused_gpu():
        say("", words)
    say("XLA_FLAGS", os.environ.get("XLA_FLAGS", "") or "none")
    unknown = set(devices.CPU_FLAGS) - set(flags)
    if unknown:
        say("", f"this jaxlib does not know {', '.join(sorted(unknown))}")
    entries = [path.stat().st_size for path in cache.rglob("*") if path.is_file()]
    say("compiled", f"{cache}: {len(entries)} programs, {sum(entries) / 2**20:.0f} MiB")
    say("weights", ", ".join(map(str, store.folders())))
    here = {name: place for name in store.manifest() if (place := store.locate(name))}
    for name, place in here.items():
        say("", f"{name}: {place}")
    if not here:
        say("", "none found: see `jtrack weights list`; hog needs none")
    say("default", f"the backbone is {default_backbone()}")

    failed = 0
    for name, check in CHECKS.items():
        worked = attempt(check)
        failed += not worked
        say("PASS" if worked else "FAIL", name)
    raise typer.Exit(1 if failed else 0)


def unused_gpu() -> str | None:
    """What to do about an NVIDIA GPU that JAX does not use; None if there is none, or it is used."""
    sign = devices.nvidia_gpu()
    if sign is None or jax.default_backend() != "cpu":
        return None
    found = f"an NVIDIA GPU is here ({sign}) and not used"
    if not devices.has_cuda():
        return f"{found}, as this jaxlib is for CPUs alone: {install('cuda')}"
    chosen = os.environ.get("JAX_PLATFORMS")
    why = f"JAX_PLATFORMS={chosen} leaves it out" if chosen else "JAX could not start its plugin for CUDA"
    return f"{found}: {why}; `python -c \"import jax; jax.devices('cuda')\"` says more"


def say(title: str, text: str) -> None:
    """One line, its title in a column."""
    typer.echo(f"{title:<10} {text}")


def installed(package: str) -> str | None:
    """The version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def attempt(check: Callable[[], bool]) -> bool:
    """Whether a check holds; one that cannot be run does not."""
    try:
        return check()
    except Exception as error:
        typer.echo(f"           {error}", err=True)
        return False


def check_convolution() -> bool:
    """A 3x3 convolution in float32 against nine shifted products in NumPy."""
    rng = np.random.default_rng(1)
    x, kernel = rng.normal(size=(1, 18, 18, 8)), rng.normal(size=(3, 3, 8, 16))
    want = sum(x[:, i : i + 16, j : j + 16] @ kernel[i, j] for i in range(3) for j in range(3))
    convolve = jax.jit(
        lambda x, k: jax.lax.conv_general_dilated(
            x, k, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )
    return close(convolve(jnp.asarray(x, jnp.float32), jnp.asarray(kernel, jnp.float32)), want, 1e-2)


def check_fft() -> bool:
    """A real two-dimensional FFT against NumPy's in double precision, and back."""
    x = np.random.default_rng(2).normal(size=(4, 57, 56))
    single = jnp.asarray(x, jnp.float32)
    spectrum = jax.jit(jnp.fft.rfft2)(single)
    back = jax.jit(lambda s: jnp.fft.irfft2(s, s=(57, 56)))(spectrum)
    return close(spectrum, np.fft.rfft2(x), 1e-3) and close(back, x, 1e-5)


def check_crop() -> bool:
    """A window on whole pixels at its own size is the image's own pixels."""
    image = np.random.default_rng(3).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    frame = Frame(jnp.asarray(image), jnp.asarray([64, 64], jnp.int32))
    cut = jax.jit(lambda window: crop(frame, window, (16, 24)))(jnp.array([7.0, 5.0, 24.0, 16.0]))
    return close(cut, image[5:21, 7:31], 1e-3)


def check_video() -> bool:
    """OpenCV writes a video that it can read again."""
    with tempfile.TemporaryDirectory() as folder:
        with outputs.video_writer(Path(folder) / "check.mp4", 25.0) as write:
            for level in (0, 128, 255):
                write(np.full((48, 64, 3), level, np.uint8))
        return True


def close(found: jax.Array, want: np.ndarray, tolerance: float) -> bool:
    """Whether every value is within an absolute tolerance."""
    return bool(np.all(np.abs(np.asarray(found) - want) <= tolerance))


CHECKS: dict[str, Callable[[], bool]] = {
    "convolution in float32": check_convolution,
    "convolution in bfloat16": devices.bf16_self_test,
    "Fourier transform": check_fft,
    "crop": check_crop,
    "video writing": check_video,
}
