"""Inputs made from a valid one: damaged as disks, networks, editors and attackers do it."""

import re

NUMBERS = [b"", b"0", b"-1", b"1e400", b"NaN", b"-inf", b"9" * 400, b"1_0", b"0x1p4", "²".encode(), b"1e-320"]
WORDS = [
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\0",
    b"\x1b[31m",
    b'"\\ud800"',
    b"null",
    b"../..",
    b"[" * 3000,
    b"{",
    b"\r",
]
BYTES = [0x00, 0x01, 0x7F, 0x80, 0xFF]


def mutated(data, rng):
    """The same with one fault, seldom with up to four.

    Args:
      data: bytes.
      rng: a NumPy generator.
    """
    for _ in range(min(4, rng.geometric(0.7))):
        data = MUTATIONS[rng.integers(len(MUTATIONS))](data, rng)
    return data


def _place(data, rng):
    """Anywhere, and half the time near the beginning, where headers are."""
    length = len(data) if rng.random() < 0.5 else min(len(data), 512)
    return int(rng.integers(length + 1))


def _span(data, rng):
    at = _place(data, rng)
    return at, at + int(rng.integers(1, 1 + min(4096, 1 + len(data) // 4)))


def flipped(data, rng):
    at, changed = _place(data, rng), bytearray(data)
    if at < len(data):
        changed[at] ^= 1 << rng.integers(8)
    return bytes(changed)


def overwritten(data, rng):
    """Some bytes, as a length or an offset has them, by extreme ones."""
    at, length = _place(data, rng), int(rng.choice([1, 2, 4, 8]))
    value = bytes([BYTES[rng.integers(len(BYTES))]]) * length
    return data[:at] + value[: max(0, len(data) - at)] + data[at + length :]


def scattered(data, rng):
    changed = bytearray(data)
    for at in rng.integers(0, max(1, len(data)), 1 + len(data) // 64):
        if at < len(data):
            changed[at] = rng.integers(256)
    return bytes(changed)


def cut(data, rng):
    return data[: _place(data, rng)]


def shortened(data, rng):
    start, end = _span(data, rng)
    return data[:start] + data[end:]


def doubled(data, rng):
    start, end = _span(data, rng)
    return data[:end] + data[start:]


def moved(data, rng):
    start, end = _span(data, rng)
    rest, at = data[:start] + data[end:], _place(data, rng)
    return rest[:at] + data[start:end] + rest[at:]


def renumbered(data, rng):
    """A number of a text."""
    found = list(re.finditer(rb"-?[0-9]+(\.[0-9]+)?", data[: 1 << 16]))
    if not found:
        return flipped(data, rng)
    one = found[rng.integers(len(found))]
    return data[: one.start()] + NUMBERS[rng.integers(len(NUMBERS))] + data[one.end() :]


def inserted(data, rng):
    at = _place(data, rng)
    return data[:at] + WORDS[rng.integers(len(WORDS))] + data[at:]


def reordered(data, rng):
    """Lines in another order, one of them gone or twice."""
    lines = data.split(b"\n")
    return b"\n".join(lines[index] for index in rng.integers(0, len(lines), len(lines)))


MUTATIONS = [
    flipped,
    overwritten,
    scattered,
    cut,
    shortened,
    doubled,
    moved,
    renumbered,
    inserted,
    reordered,
]
