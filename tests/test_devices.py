"""CPU flags, the bfloat16 self-test and the compilation cache, each in a process where that matters."""

import json
import mmap
import os
import platform
import re
import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import NamedTuple

import jax
import jaxlib
import pytest
from jaxlib import xla_client

from jtrack import JtrackError, devices
from tests.conftest import ROOT


def run(program, folder, **environment):
    """The last line a program prints, in a fresh process on the CPU with a cache folder of its own."""
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": str(folder)} | environment
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of this test's own."""
    monkeypatch.setattr(devices, "_cache_folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_import_touches_nothing(tmp_path):
    program = """
import os
before = dict(os.environ)
import jtrack, jtrack.devices, jtrack.backbones
jtrack.backbones.get("vgg19")
from jax._src import xla_bridge
print(before == dict(os.environ), xla_bridge.backends_are_initialized())
"""
    assert run(program, tmp_path) == "True False"


def test_bf16_is_right_with_the_flags(tmp_path):
    program = """
import numpy as np, jax, jax.numpy as jnp
from jtrack import backbones, devices
devices.configure_cpu()
assert devices.bf16_self_test()
assert devices.usable_precision("bfloat16") == "bfloat16"
taps = ("conv5_4",)
images = jnp.asarray(np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype(np.float32))
single, half = (backbones.get("vgg19", precision=p) for p in ("float32", "bfloat16"))
params = single.random_params(0, taps=taps)
a, b = (np.asarray(jax.jit(n.apply, static_argnums=2)(params, images, taps)["conv5_4"]).ravel().astype(float)
        for n in (single, half))
print(bool(np.any(a != b)) and a @ b / np.sqrt((a @ a) * (b @ b)))
"""
    assert 0.999 < float(run(program, tmp_path)) < 1


@pytest.mark.slow
def test_flags_are_appended_after_the_users(tmp_path):
    program = """
import os
from jtrack import devices
flags = devices.configure_cpu()
again = devices.configure_cpu()
assert flags == again
print(os.environ["XLA_FLAGS"])
"""
    mine = "--xla_cpu_enable_fast_math=false --xla_cpu_experimental_onednn_custom_call=false"
    found = run(program, tmp_path, XLA_FLAGS=mine)
    assert found.startswith(mine)
    assert found.count("onednn_custom_call") == 1
    if devices.CPU_FLAGS[1] in found:
        assert found == f"{mine} {devices.CPU_FLAGS[1]}"


@pytest.mark.slow
def test_too_late_is_said(tmp_path):
    program = """
import jax.numpy as jnp
from jaxlib import xla_client

from jtrack import JtrackError, devices
from tests.conftest import ROOT
jnp.zeros(3)
try:
    devices.configure_cpu()
except JtrackError as error:
    print(error)
"""
    message = run(program, tmp_path, XLA_FLAGS="")
    assert "after JAX had started its devices" in message and "XLA_FLAGS=" in message


def test_an_unknown_flag_is_found_out_and_remembered(cache, monkeypatch):
    assert not devices._is_known("--xla_cpu_no_such_flag=true")
    (path,) = cache.iterdir()
    assert json.loads(path.read_text()) == {f"jaxlib {jaxlib.__version__} --xla_cpu_no_such_flag=true": False}
    monkeypatch.setattr(devices, "_try", lambda flag: pytest.fail("asked twice"))
    assert not devices._is_known("--xla_cpu_no_such_flag=true")


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"jaxlib": "maybe"}', '"text"'])
def test_a_damaged_memory_is_replaced(cache, monkeypatch, content):
    cache.mkdir()
    (cache / "xla_flags.json").write_text(content)
    monkeypatch.setattr(devices, "_try", lambda flag: True)
    assert devices._is_known("--xla_some_flag=1")
    assert json.loads((cache / "xla_flags.json").read_text())[
        f"jaxlib {jaxlib.__version__} --xla_some_flag=1"
    ]


def test_wrong_bf16_falls_back_with_one_warning(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr(devices, "bf16_self_test", lambda: False)
    devices._bf16_works.cache_clear()
    with pytest.warns(UserWarning, match="float32 is used instead") as caught:
        assert devices.usable_precision("bfloat16") == "float32"
        assert devices.usable_precision("bfloat16") == "float32"
    assert len(caught) == 1
    devices._bf16_works.cache_clear()


def test_precisions_that_need_no_test(monkeypatch):
    monkeypatch.setattr(devices, "bf16_self_test", lambda: pytest.fail("not needed"))
    devices._bf16_works.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert devices.usable_precision("float32") == "float32"
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        assert devices.usable_precision("bfloat16") == "bfloat16"
    devices._bf16_works.cache_clear()
    with pytest.raises(JtrackError, match="unknown precision 'bf16': did you mean 'bfloat16'"):
        devices.usable_precision("bf16")


class Device(NamedTuple):
    """What JAX says of a device."""

    platform: str
    device_kind: str
    compute_capability: str


TURING = Device("gpu", "Tesla T4", "7.5")
AMPERE = Device("gpu", "NVIDIA A100-SXM4-40GB", "8.0")
INSTINCT = Device("gpu", "AMD Instinct MI300X", "gfx942")


@pytest.mark.parametrize("device", [TURING, AMPERE, INSTINCT, None])
def test_tf32_is_for_gpus_that_have_it(monkeypatch, device):
    if device is not None:  # else this machine's, which is no GPU
        monkeypatch.setattr(jax, "devices", lambda: [device])
    devices._tf32_works.cache_clear()
    if device is AMPERE:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert devices.usable_precision("tf32") == "tf32"
    else:
        said = f"{jax.devices()[0].device_kind} .* has no TF32, float32 is used instead"
        with pytest.warns(UserWarning, match=said) as caught:
            assert [devices.usable_precision("TF32") for _ in range(2)] == ["float32", "float32"]
        assert len(caught) == 1
    devices._tf32_works.cache_clear()


@pytest.mark.parametrize(
    ("path", "kind"),
    [("dev/nvidia0", "file"), ("proc/driver/nvidia", "folder"), ("bin/nvidia-smi", "program")],
)
def test_a_gpu_is_known_by_its_driver_whatever_jax_can(tmp_path, monkeypatch, path, kind):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    sign = tmp_path / path
    sign.parent.mkdir(parents=True)
    assert devices.nvidia_gpu(tmp_path) is None
    if kind == "folder":
        sign.mkdir()
    else:
        sign.touch(mode=0o755)
    assert devices.nvidia_gpu(tmp_path) == str(sign)


def test_the_share_of_memory_that_the_gpu_s_page_names_reaches_it(monkeypatch):
    (name, share), *others = re.findall(
        r"(XLA_[A-Z_]+)=(\.\d+) jtrack", (ROOT / "docs" / "howto" / "gpu.md").read_text()
    )
    assert not others
    for variable in [variable for variable in os.environ if "MEM_FRACTION" in variable]:
        monkeypatch.delenv(variable)
    assert "memory_fraction" not in xla_client.generate_pjrt_gpu_plugin_options()
    monkeypatch.setenv(name, share)
    assert xla_client.generate_pjrt_gpu_plugin_options()["memory_fraction"] == float(share)


def test_cuda_is_known_by_its_plugin(monkeypatch):
    plugins = [EntryPoint("xla_cuda13", "jax_plugins.xla_cuda13", "jax_plugins")]
    monkeypatch.setattr(devices, "entry_points", lambda group: plugins if group == "jax_plugins" else [])
    assert devices.has_cuda()
    plugins[:] = [EntryPoint("tpu", "jax_plugins.tpu", "jax_plugins")]
    assert not devices.has_cuda()


@pytest.mark.parametrize("fault", [lambda y: y.at[0, 3, 3, 5].add(y.max() / 4), lambda y: y / 0])
def test_the_self_test_sees_wrong_values(monkeypatch, fault):
    block = devices._vgg_block

    def computed(x, *rest):  # in float32 for both, so that only the fault differs
        return block(x.astype("float32"), *(r.astype("float32") for r in rest)).astype(x.dtype)

    monkeypatch.setattr(devices, "_vgg_block", computed)
    assert devices.bf16_self_test()
    monkeypatch.setattr(
        devices,
        "_vgg_block",
        lambda x, *rest: computed(x, *rest) if x.dtype == "float32" else fault(computed(x, *rest)),
    )
    assert not devices.bf16_self_test()


def test_small_programs_are_kept(tmp_path):
    program = """
import sys, jax, jax.numpy as jnp
from jtrack import devices
folder = devices.enable_compilation_cache()
jax.jit(lambda x: x * 2 + 1)(jnp.ones(3)).block_until_ready()
print(folder, len([p for p in folder.iterdir() if "lambda" in p.name and p.name.endswith("cache")]))
"""
    folder, count = run(program, tmp_path).rsplit(maxsplit=1)
    assert folder.startswith(str(tmp_path)) or sys.platform != "linux"
    assert int(count) == 1


def test_a_cache_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JtrackError, match=r"compilation cache .* cannot be made"):
        devices.enable_compilation_cache(tmp_path / "file" / "xla")


KEEPING = """
import resource
from jtrack import devices
kept = devices.keep_memory()
import jax, jax.numpy as jnp
work = jax.jit(lambda x: jax.lax.optimization_barrier(jnp.tile(x, 2**16) + 1).sum())  # 64 MiB for a while
x = jnp.arange(256, dtype=jnp.float32)
faults = []
for _ in range(30):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work(x).block_until_ready()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(kept, sorted(faults[20:])[5])
"""


def _huge_pages():
    try:
        return "[always]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="glibc's memory")
@pytest.mark.skipif(_huge_pages(), reason="pages of 2 MiB: too few faults to count")
def test_memory_is_kept(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    kept, faults = run(KEEPING, tmp_path).split()
    users, faults_of_users = run(KEEPING, tmp_path, MALLOC_PERTURB_="0").split()
    assert (kept, users) == ("True", "False")
    # Of ten calls the middle one counts: the heap still grows in a few.
    pages = 2**26 // mmap.PAGESIZE
    assert int(faults) < pages / 80
    assert int(faults_of_users) > pages / 2
