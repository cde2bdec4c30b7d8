"""Files of published boxes, well formed and not."""

import gzip
import json

import numpy as np
import pytest

from jtrack.benchmark import published
from jtrack.errors import JtrackError


@pytest.fixture
def folder(tmp_path):
    content = {
        "Walk": {"type": "rect", "res": [[1, 2, 3, 4], [1.5, 2, 3, 4]]},
        "Run": {"res": [[9, 9, 9, 9]]},
    }
    (tmp_path / "KCF_OPE.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))
    (tmp_path / "CT_SRE.json.gz").write_bytes(b"")
    return tmp_path


def test_boxes_are_counted_from_zero(folder):
    assert published.trackers(folder) == ["KCF"]
    np.testing.assert_array_equal(published.boxes(folder, "KCF", "Walk"), [[0, 1, 3, 4], [0.5, 1, 3, 4]])
    assert list(published.load(folder, "KCF")) == ["Walk", "Run"]


def test_unknown_names(folder, tmp_path):
    with pytest.raises(JtrackError, match=r"unknown published tracker .* 'KFC': did you mean 'KCF'"):
        published.load(folder, "KFC")
    with pytest.raises(JtrackError, match="unknown published tracker"):
        published.load(folder, "../KCF")
    with pytest.raises(JtrackError, match="unknown sequence of KCF 'Wlak': did you mean 'Walk'"):
        published.boxes(folder, "KCF", "Wlak")
    with pytest.raises(JtrackError, match="there are no published boxes"):
        published.load(tmp_path / "nothing", "KCF")


@pytest.mark.parametrize(
    "content",
    [
        b"{}{",
        b"[1, 2]",
        b'{"Walk": [1, 2]}',
        b'{"Walk": {"res": [[1, 2, 3]]}}',
        b'{"Walk": {"res": [[1, 2, 3, 4], [1, 2]]}}',
        b'{"Walk": {"res": [["a", 2, 3, 4]]}}',
        b'{"Walk": {"res": {}}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_other_content_is_refused(tmp_path, content):
    (tmp_path / "KCF_OPE.json.gz").write_bytes(gzip.compress(content))
    with pytest.raises(JtrackError, match=r"KCF_OPE\.json\.gz does not hold one list of boxes"):
        published.load(tmp_path, "KCF")


def test_broken_files_are_refused(folder):
    whole = (folder / "KCF_OPE.json.gz").read_bytes()
    for data in (b"", b"no gzip", whole[:30], whole[:-9], whole[:20] + b"\xff\xff\xff" + whole[23:]):
        (folder / "KCF_OPE.json.gz").write_bytes(data)
        with pytest.raises(JtrackError, match="does not hold one list of boxes"):
            published.load(folder, "KCF")


def test_bombs_are_refused(tmp_path):
    (tmp_path / "KCF_OPE.json.gz").write_bytes(gzip.compress(b" " * (65 << 20)))
    with pytest.raises(JtrackError, match="unpacks to more than 64 MiB"):
        published.load(tmp_path, "KCF")
