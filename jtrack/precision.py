"""The precisions that a network can be computed in, and what each asks of a device's multipliers.

`float32` is float32 on every device: accelerators multiply in less unless they are asked. `tf32` keeps
float32 weights and maps, and lets a GPU round what it multiplies to TF32, ten bits of mantissa. `bfloat16`
casts weights and maps as well. All else that a tracker computes is float32 whatever the precision.
"""

from jax import lax

# Precision -> of products. XLA's name for "TF32 where there is such a thing" is HIGH; DEFAULT is TF32, too,
# on a GPU, but bfloat16 on a TPU.
PRECISIONS = {
    "float32": lax.Precision.HIGHEST,
    "tf32": lax.Precision.HIGH,
    "bfloat16": lax.Precision.DEFAULT,
}
