"""Files of published boxes, well formed and not."""

import gzip
import json
import os
import struct

import h5py
import numpy as np
import pytest
import scipy.io

from jtrack import matlab
from jtrack.benchmark import published, region_types
from jtrack.benchmark.results import FAILED, INITIALISED, SKIPPED, TRACKED
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
        b"[]",
        b"{}",
        b'{"Walk": []}',
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
    (tmp_path / "KCF_OPE.json.gz").write_bytes(gzip.compress(b" " * (33 << 20)))
    with pytest.raises(JtrackError, match="unpacks to more than 32 MiB"):
        published.load(tmp_path, "KCF")


BOXES = np.array([[1.0, 2, 3, 4], [1.5, 2, 3, 4], [np.nan, np.nan, 3, 4]])


def entry(rows=BOXES, kind="rect", **more):
    return {"res": np.array(rows, float), "type": kind, "len": float(len(rows)), **more}


def cell(items):
    array = np.empty((1, len(items)), object)
    for i, item in enumerate(items):
        array[0, i] = item
    return array


def write_mat(path, entries, **options):
    scipy.io.savemat(path, {"aside": np.ones(2), "results": cell(entries)}, **options)


def write_hdf5(path, entries):
    """As MATLAB saves with -v7.3: a user block, cells of references, axes in reverse, text as numbers."""
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = file.create_dataset("results", (len(entries), 1), h5py.ref_dtype)
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        for i, fields in enumerate(entries):
            struct = file.create_group(f"#refs#/{i}")
            struct.attrs["MATLAB_class"] = np.bytes_("struct")
            for name, value in fields.items():
                is_text = isinstance(value, str)
                data = [ord(letter) for letter in value] if is_text else value
                array = np.atleast_2d(np.array(data, np.uint16 if is_text else float)).T
                item = struct.create_dataset(name, data=array)
                item.attrs["MATLAB_class"] = np.bytes_("char" if is_text else "double")
            cells[i, 0] = struct.ref
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


WRITERS = {
    "v6": write_mat,
    "v7": lambda path, entries: write_mat(path, entries, do_compression=True),
    "v7.3": write_hdf5,
}


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_mat_files_of_a_folder_are_trackers(tmp_path, writer):
    writer(tmp_path / "Walk_KCF_Gauss.mat", [entry(fps=4.0, startFrame=1.0, annoBegin=1.0)])
    writer(tmp_path / "Run_KCF_Gauss.mat", [entry(BOXES[:2])])
    writer(tmp_path / "Walk_CT.mat", [entry(BOXES + i, shiftType="left") for i in range(3)])
    ct, kcf = published.read(tmp_path)
    assert (ct.tracker, ct.protocol, list(ct.trajectories)) == ("CT", "sre", ["Walk"])
    assert (kcf.tracker, kcf.protocol, sorted(kcf.trajectories)) == ("KCF_Gauss", "ope", ["Run", "Walk"])
    assert [len(trials) for trials in ct.trajectories.values()] == [3]
    np.testing.assert_array_equal(ct.trajectories["Walk"][2].boxes, BOXES + 2 - [1, 1, 0, 0])
    (walk,) = kcf.trajectories["Walk"]
    np.testing.assert_array_equal(walk.boxes, BOXES - [1, 1, 0, 0])
    np.testing.assert_array_equal(walk.seconds, [0.25] * 3)
    assert walk.status.tolist() == [INITIALISED, TRACKED, TRACKED]
    assert kcf.trajectories["Run"][0].seconds is None


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS)
def test_mat_files_cut_anywhere_are_refused(tmp_path, writer):
    path = tmp_path / "Walk_KCF.mat"
    writer(path, [entry(np.tile(BOXES[:2], (40, 1)))])
    whole = path.read_bytes()
    for cut in np.linspace(0, len(whole) - 9, 60).astype(int):
        path.write_bytes(whole[:cut])
        with pytest.raises(JtrackError, match=r"Walk_KCF\.mat does not hold the OTB toolkit's results"):
            published.read(path)


def test_segments_end_with_the_sequence(tmp_path):
    """TRE: twenty starts, each to the end; the first has all frames."""
    content = {"Walk": [{"res": np.ones((n, 4)).tolist()} for n in (50, 48, 20)]}
    (tmp_path / "CT.json").write_text(json.dumps(content))
    (results,) = published.read(tmp_path / "CT.json")
    assert (results.tracker, results.protocol) == ("CT", "tre")
    assert [trial.start for trial in results.trajectories["Walk"]] == [0, 2, 30]


def test_json_of_one_sequence_a_file(tmp_path):
    """The Python toolkit's form: the folder is the tracker."""
    folder = tmp_path / "STRUCK"
    folder.mkdir()
    for name in ("Walk", "Run"):
        trial = {"resType": "rect", "evalType": "OPE", "seqName": name, "fps": 8, "res": [[1, 2, 3, 4]] * 2}
        (folder / f"{name}.json").write_text(json.dumps([trial]))
    (results,) = published.read(tmp_path)
    assert (results.tracker, results.protocol) == ("STRUCK", "ope")
    assert sorted(results.trajectories) == ["Run", "Walk"]


def test_region_types_by_hand():
    """Worked out on paper by the toolkit's rules: corners rounded, affine templates rounded down."""
    corners = [[10, 30.4, 28, 8.5], [5, 7, 25.5, 22]]
    np.testing.assert_array_equal(region_types.boxes("4corner", corners), [[9, 5, 23, 22]])
    np.testing.assert_array_equal(region_types.boxes("affine", corners * 2), [[9, 5, 23, 22]] * 2)
    upright, turned = [100.5, 80.25, 1, 0, 0, 2], [50, 40, 0.6, -0.8, 0.8, 0.6]
    np.testing.assert_array_equal(region_types.boxes("ivtAff", [upright], [[32, 32]]), [[84, 48, 32, 64]])
    np.testing.assert_array_equal(region_types.boxes("ivtAff", [turned], [20, 10]), [[48, 29, 4, 22]])
    np.testing.assert_array_equal(
        region_types.boxes("L1Aff", [[2, 0, 0, 3, 10, 20]], [12, 15]), [[23, 12, 43, 23]]
    )


def test_region_types_in_mat_files(tmp_path):
    write_mat(
        tmp_path / "Walk_IVT.mat", [entry([[100.5, 80.25, 1, 0, 0, 2]] * 2, "ivtAff", tmplsize=[32, 32])]
    )
    write_mat(
        tmp_path / "Walk_Frag.mat", [entry([[10, 30, 30, 10], [5, 5, 25, 25]] * 3, "4corner") | {"len": 3.0}]
    )
    frag, ivt = published.read(tmp_path)
    np.testing.assert_array_equal(frag.trajectories["Walk"][0].boxes, [[9, 4, 21, 21]] * 3)
    np.testing.assert_array_equal(ivt.trajectories["Walk"][0].boxes, [[83, 47, 32, 64]] * 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"Walk": {"res": [[1, 2, 3]]}}, "Walk: regions of type rect have 4 numbers a row"),
        ({"Walk": {"res": []}}, "Walk: regions of type rect have 4 numbers a row"),
        ({"Walk": {"res": [[1] * 6], "type": "ivtAff"}}, r"Walk: affine regions need .* \(tmplsize\)"),
        (
            {"Walk": {"res": [[1] * 6], "type": "ivtAff", "tmplsize": [0, 3]}},
            "need the size of their template",
        ),
        ({"Walk": {"res": [[1] * 4] * 3, "type": "4corner"}}, "corners take two rows a frame, these are 3"),
        (
            {"Walk": {"res": [[1] * 4], "type": "ivtaff"}},
            "unknown type of region 'ivtaff': did you mean 'ivtAff'",
        ),
        ({"Walk": {"res": [[1] * 4], "len": 3}}, r"Walk: it shall have 3 boxes \(len\) but has 1"),
        ({"../Walk": {"res": [[1] * 4]}}, r"'../Walk', which is not .*plain name"),
        ({"..": {"res": [[1] * 4]}}, r"'\.\.', which is not .*plain name"),
        ({"": {"res": [[1] * 4]}}, r"'', which is not .*plain name"),
        ({"a\0b": {"res": [[1] * 4]}}, "which is not .*plain name"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    (tmp_path / "CT.json").write_text(json.dumps(content))
    with pytest.raises(JtrackError, match=rf"CT\.json.*{message}") as caught:
        published.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_sequences_held_twice_are_refused(tmp_path):
    for name in ("CT_OPE.json", "CT.json"):
        (tmp_path / name).write_text(json.dumps({"Walk": {"res": [[1, 2, 3, 4]]}}))
    with pytest.raises(JtrackError, match=r"CT\.json and CT_OPE\.json both hold Walk of CT"):
        published.read(tmp_path)


def test_other_mat_files_are_refused(tmp_path):
    scipy.io.savemat(tmp_path / "Walk_CT.mat", {"layers": np.ones(3)})
    with pytest.raises(JtrackError, match=r"Walk_CT\.mat does not hold .*no variable `results`"):
        published.read(tmp_path)
    scipy.io.savemat(tmp_path / "Walk_CT.mat", {"results": np.ones(3)})
    with pytest.raises(JtrackError, match=r"Walk_CT\.mat does not hold the OTB toolkit's results"):
        published.read(tmp_path)


def test_mat_files_that_unpack_to_more_than_allowed_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "_LARGEST", 1 << 16)
    many = [entry(np.zeros((4000, 4)))]
    for version in ("v7", "v7.3"):
        path = tmp_path / "Walk_CT.mat"
        WRITERS[version](path, many)
        if version == "v7.3":  # the numbers take next to nothing in the file
            with h5py.File(path, "r+") as file:
                del file["#refs#/0/res"]
                file["#refs#/0"].create_dataset("res", (4, 1 << 40), "f8", fillvalue=1.0, chunks=True)
        with pytest.raises(JtrackError, match=r"more than|more room|at most 65536"):
            published.read(path)


def test_hdf5_that_leads_elsewhere_is_refused(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    path = tmp_path / "Walk_CT.mat"
    write_hdf5(path, [entry()])
    with h5py.File(path, "r+") as file:
        del file["#refs#/0/res"]
        file["#refs#/0"].create_dataset("res", (4, 2), external=[(str(secret), 0, 64)], dtype=float)
    with pytest.raises(JtrackError, match="not an array within the file"):
        published.read(path)
    with h5py.File(path, "r+") as file:
        del file["#refs#/0/res"]
        file["#refs#/0/res"] = h5py.ExternalLink("other.h5", "/res")
    with pytest.raises(JtrackError, match="holds a link"):
        published.read(path)
    with h5py.File(path, "r+") as file:  # a cell that holds itself
        file["results"][0, 0] = file["results"].ref
    with pytest.raises(JtrackError, match="matrices within matrices"):
        published.read(path)


def test_hdf5_without_h5py_names_the_extra(tmp_path, monkeypatch):
    write_hdf5(tmp_path / "Walk_CT.mat", [entry()])
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(JtrackError, match=r"^reading .*CT\.mat, .* needs h5py, .* -e '\.\[mat\]'"):
        published.read(tmp_path)


def test_struct_arrays_of_hdf5(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        group = file.create_group("pairs")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for name in "xy":
            column = group.create_dataset(name, (2, 1), h5py.ref_dtype)
            for i in range(2):
                value = file.create_dataset(f"#refs#/{name}{i}", data=[[float(i)]])
                value.attrs["MATLAB_class"] = np.bytes_("double")
                column[i, 0] = value.ref
    pairs = matlab.hdf5_variable(tmp_path / "a.mat", "pairs", 1000)
    assert [{name: value.item() for name, value in pair.items()} for pair in pairs] == [
        {"x": 0, "y": 0},
        {"x": 1, "y": 1},
    ]


def test_otb_text(tmp_path):
    folder = tmp_path / "runs" / "MyTracker"
    (folder / "times").mkdir(parents=True)
    (folder / "Walk.txt").write_text("1,2,3,4\n1.5\t2\t3\t4\nNaN NaN NaN NaN\n")
    (folder / "Run.txt").write_text("9 9 9 9\n")
    (folder / "times" / "Walk_time.txt").write_text("0.5\n0.25\n0.25\n")
    for path in (folder, tmp_path / "runs", tmp_path):
        (results,) = published.read(path)
        assert (results.tracker, results.protocol) == ("MyTracker", "ope")
    (walk,) = results.trajectories["Walk"]
    np.testing.assert_array_equal(walk.boxes, [[0, 1, 3, 4], [0.5, 1, 3, 4], [np.nan] * 4])
    np.testing.assert_array_equal(walk.seconds, [0.5, 0.25, 0.25])
    (folder / "Run.txt").write_text("9 9 9 9\n9 9 9\n")
    with pytest.warns(UserWarning, match=r"^left out: row 2 of .*Run\.txt has 3 numbers"):
        (results,) = published.read(folder)
    assert list(results.trajectories) == ["Walk"]
    (folder / "Run.txt").write_text("9 9 x 9\n")
    (folder / "Walk.txt").unlink()
    with pytest.raises(JtrackError, match=r"line 1 of .*Run\.txt is not a line of numbers"):
        published.read(folder)


def test_got_text(tmp_path):
    folder = tmp_path / "SiamFC" / "GOT-10k_Val_000001"
    folder.mkdir(parents=True)
    for number in (1, 2):
        (folder / f"{folder.name}_00{number}.txt").write_text(f"{number},2,3,4\n5,6,7,8\n")
    (folder / f"{folder.name}_time.txt").write_text("0.5,0.1\n0.25,0.2\n")
    (results,) = published.read(tmp_path)
    assert (results.tracker, results.protocol) == ("SiamFC", "got10k")
    one, two = results.trajectories[folder.name]
    np.testing.assert_array_equal(two.boxes, [[2, 2, 3, 4], [5, 6, 7, 8]])  # counted as they stand
    np.testing.assert_array_equal(one.seconds, [0.5, 0.25])
    np.testing.assert_array_equal(two.seconds, [0.1, 0.2])


def test_vot_text(tmp_path):
    tracker = tmp_path / "results" / "MyTracker"
    for experiment in ("baseline", "region_noise"):
        folder = tracker / experiment / "bag"
        folder.mkdir(parents=True)
        (folder / "bag_001.txt").write_text("1\n1,2,3,4\n2\n0\n1\n5,6,7,8\n")
        (folder / "bag_001_time.value").write_text("\n".join("123456"))
    (tracker / "baseline" / "bag" / "bag_002.txt").write_text("1\n0,0,4,0,4,2,0,2\n")
    baseline, noise = published.read(tmp_path / "results")
    assert [results.protocol for results in (baseline, noise)] == ["baseline", "region_noise"]
    first, second = baseline.trajectories["bag"]
    assert first.status.tolist() == [INITIALISED, TRACKED, FAILED, SKIPPED, INITIALISED, TRACKED]
    np.testing.assert_array_equal(first.boxes[[1, 5]], [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert np.isnan(first.boxes[[0, 2, 3, 4]]).all() and first.polygons is None
    np.testing.assert_array_equal(first.seconds, range(1, 7))
    np.testing.assert_array_equal(second.boxes[1], [0, 0, 4, 2])
    np.testing.assert_array_equal(second.polygons[1], [[0, 0], [4, 0], [4, 2], [0, 2]])
    (tracker / "baseline" / "bag" / "bag_002.txt").write_text("1\n3\n")
    with pytest.warns(UserWarning, match=r"bag_002\.txt has the code 3"):
        (noise,) = published.read(tracker)
    assert noise.protocol == "region_noise"
    (tracker / "baseline" / "bag" / "bag_002.txt").write_text("1\n1,2,3\n")
    with pytest.warns(UserWarning, match=r"all regions must be x, y, w, h, or polygons"):
        published.read(tracker)


def test_nothing_to_read(tmp_path):
    with pytest.raises(JtrackError, match=r"there are no results .*nothing"):
        published.read(tmp_path / "nothing")
    with pytest.raises(JtrackError, match="holds no results: wanted are"):
        published.read(tmp_path)
    (tmp_path / "a" / "b" / "c" / "d").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c" / "d" / "Walk.txt").write_text("1,2,3,4\n")
    with pytest.raises(JtrackError, match="holds no results"):  # no search through whole disks
        published.read(tmp_path)


def test_the_published_files(data_folder):
    """What lies in the data: five trackers on 100 sequences, one with twelve trials on 51."""
    found = {(r.tracker, r.protocol): r for r in published.read(data_folder / "otb_benchmark" / "results")}
    assert sorted(found) == [
        *((name, "ope") for name in ("CF2", "CNN-SVM")),
        ("CT", "sre"),
        *((name, "ope") for name in ("KCF", "MEEM", "Struck")),
    ]
    counts = {
        key: (len(r.trajectories), {len(t) for t in r.trajectories.values()}) for key, r in found.items()
    }
    assert counts.pop(("CT", "sre")) == (51, {12})
    assert set(map(str, counts.values())) == {"(100, {1})"}
    assert {len(r.trajectories["Tiger1"][0].boxes) for r in found.values()} == {349}


def vot_file(path, *frames):
    """Writes a trajectory of VOT's toolkit byte by byte: codes, boxes, polygons, ("mask", ...)."""
    data = b"\x01\x00" + len(frames).to_bytes(4, "little")
    for frame in frames:
        if isinstance(frame, int):
            data += b"\x00" + frame.to_bytes(4, "little")
        elif frame[0] == "mask":
            data += b"\x03" + np.array(frame[1], "<i2").tobytes()
        elif len(frame) == 4:
            data += b"\x01" + np.array(frame, "<f4").tobytes()
        else:
            data += b"\x02" + (len(frame) // 2).to_bytes(2, "little") + np.array(frame, "<f4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def test_vot_binary(tmp_path):
    bag = tmp_path / "MyTracker" / "baseline" / "bag"
    vot_file(bag / "bag_001.bin", 1, (1.5, 2, 3, 4), 2, 0, 1, (5, 6, 7.25, 8))
    (bag / "bag_001_time.value").write_text("0.5\n0.25\n\n\n0.5\n0.125\n")  # none of frames that were not run
    vot_file(bag / "bag_002.bin", 1, (0, 0, 4, 0, 4, 2, 0, 2))
    (bag / "bag_003.txt").write_text("1\n9,9,9,9\n")
    vot_file(bag / "bag_003.bin", 1, (1, 1, 1, 1))
    for path in (tmp_path, tmp_path / "MyTracker", tmp_path / "MyTracker" / "baseline"):
        (results,) = published.read(path)
        assert (results.tracker, results.protocol) == ("MyTracker", "baseline")
    first, second, third = results.trajectories["bag"]
    assert first.status.tolist() == [INITIALISED, TRACKED, FAILED, SKIPPED, INITIALISED, TRACKED]
    np.testing.assert_array_equal(first.boxes[[1, 5]], [[1.5, 2, 3, 4], [5, 6, 7.25, 8]])
    np.testing.assert_array_equal(first.seconds, [0.5, 0.25, np.nan, np.nan, 0.5, 0.125])
    np.testing.assert_array_equal(second.polygons[1], [[0, 0], [4, 0], [4, 2], [0, 2]])
    np.testing.assert_array_equal(second.boxes[1], [0, 0, 4, 2])
    np.testing.assert_array_equal(third.boxes[1], [9, 9, 9, 9])  # text first, as the toolkit


@pytest.mark.parametrize(
    "spoil, why",
    [
        (lambda data: data[:-1], "requires|unpack"),
        (lambda data: data[:6], "ends after 0 of 2 frames"),
        (lambda data: data[:3], "requires|unpack"),
        (lambda data: b"", "requires|unpack"),
        (lambda data: data + b"\0", "1 bytes follow its 2 frames"),
        (lambda data: b"\2" + data[1:], "it is of version 2, known is 1"),
        (lambda data: data[:2] + b"\xff" * 4 + data[6:], "it shall have 4294967295 frames"),
        (lambda data: data[:2] + bytes(4), "it shall have 0 frames"),
        (lambda data: data[:6] + b"\x07" + data[7:], "frame 0 has a region of kind 7"),
        (lambda data: data[:11] + struct.pack("<BH4f", 2, 2, 1, 2, 30, 40), "a polygon of 2 corners"),
        (lambda data: data[:11] + struct.pack("<BH", 2, 0), "a polygon of 0 corners"),
    ],
)
def test_damaged_vot_binary_costs_its_sequence(tmp_path, spoil, why):
    bad, good = (tmp_path / "T" / "baseline" / name / f"{name}_001.bin" for name in ("bad", "good"))
    bad.parent.mkdir(parents=True)
    bad.write_bytes(spoil(vot_file(good, 1, (1, 2, 3, 4))))
    with pytest.warns(UserWarning, match=rf"bad_001\.bin is not a trajectory of VOT's toolkit .*({why})"):
        (results,) = published.read(tmp_path)
    assert list(results.trajectories) == ["good"]


def test_masks_and_infinite_boxes_of_vot_are_refused(tmp_path):
    path = tmp_path / "T" / "baseline" / "bag" / "bag_001.bin"
    vot_file(path, 1, ("mask", (3, 4, 2, 2, 2, 0, 4)))
    with pytest.raises(JtrackError, match=r"bag_001\.bin holds masks: jtrack scores boxes and polygons"):
        published.read(tmp_path)
    vot_file(path, 1, (1, 2, np.inf, 4))
    with pytest.raises(JtrackError, match=r"bag_001\.bin has a box of inf pixels in row 2"):
        published.read(tmp_path)


def test_an_experiment_that_is_not_known_is_never_taken_for_got(tmp_path):
    """`realtime` was once a tracker of GOT-10k, its codes boxes of one number."""
    rows = {"KCF": "1\n1,2,3,4\n", "NCC": "1\n5,6,7,8\n"}
    for tracker, text in rows.items():
        walk = tmp_path / tracker / "realtime" / "walk"
        walk.mkdir(parents=True)
        (walk / "walk_001.txt").write_text(text)
    with pytest.raises(JtrackError, match=r"KCF/realtime is an experiment of VOT that jtrack does not score"):
        published.read(tmp_path)
    vot_file(tmp_path / "NCC" / "baseline" / "walk" / "walk_001.bin", 1, (1, 2, 3, 4))
    (tmp_path / "NCC" / "baseline" / "run").mkdir()
    (tmp_path / "NCC" / "baseline" / "run" / "run_00000010.bin").touch()
    with pytest.warns(UserWarning) as said:
        (results,) = published.read(tmp_path)
    assert (results.tracker, results.protocol, list(results.trajectories)) == ("NCC", "baseline", ["walk"])
    told = " ".join(str(each.message) for each in said)
    assert (
        "KCF/realtime" in told and "NCC/realtime" in told and "run is of VOT's experiment with many" in told
    )


def test_boxes_of_got_under_a_name_of_vot_are_not_taken_for_vot(tmp_path):
    walk = tmp_path / "baseline" / "walk"
    walk.mkdir(parents=True)
    (walk / "walk_001.txt").write_text("1,2,3,4\n1,2,3,4\n")
    with pytest.raises(JtrackError, match=r"walk_001\.txt begins with a box: results of VOT's experiment"):
        published.read(tmp_path)


def test_stray_and_empty_files_cost_themselves(tmp_path):
    otb = tmp_path / "KCF"
    otb.mkdir()
    (otb / "Walk.txt").write_text("1,2,3,4\n")
    (otb / "Run.txt").write_text("")
    (otb / "notes.txt").write_text("about all this")
    for name in ("._Walk.txt", ".DS_Store", "__MACOSX"):
        (otb / name).write_bytes(b"\xff\xfe")
    (tmp_path / "README.txt").write_text("what is here")
    (tmp_path / "__MACOSX" / "KCF").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "KCF" / "._Walk.txt").write_bytes(b"\xff\xfe")
    with pytest.warns(UserWarning) as said:
        (results,) = published.read(tmp_path)
    assert (results.tracker, list(results.trajectories)) == ("KCF", ["Walk"])
    told = [str(each.message) for each in said]
    assert len(told) == 3 and all(each.startswith("left out: ") for each in told)
    assert [name for name in ("README.txt", "Run.txt is empty", "notes.txt") if name in " ".join(told)] == [
        "README.txt",
        "Run.txt is empty",
        "notes.txt",
    ]
    json_folder = tmp_path / "json"
    json_folder.mkdir()
    (json_folder / "KCF.json").write_text(json.dumps({"Walk": {"res": [[1, 2, 3, 4]]}}))
    (json_folder / "package.json").write_text('{"name": "x"}')
    (json_folder / "._KCF.json").write_bytes(b"\xff")
    with pytest.warns(UserWarning, match=r"^left out: .*package\.json does not hold one list of boxes"):
        (results,) = published.read(json_folder)
    assert results.tracker == "KCF"


def test_of_many_stray_files_some_are_named(tmp_path):
    (tmp_path / "Walk.txt").write_text("1,2,3,4\n")
    for number in range(9):
        (tmp_path / f"{number}.txt").write_text("x")
    with pytest.warns(UserWarning) as said:
        published.read(tmp_path)
    assert len(said) == 5 and str(said[-1].message).startswith("left out: 5 more of ")


@pytest.mark.parametrize(
    "text, why",
    [
        ('{"Walk": {"res": [[1,2,3,4]]}, "Walk": {"res": [[9,9,9,9]]}}', "it says 'Walk' twice"),
        ('{"Walk": {"res": [[1,2,3,4]], "res": [[9,9,9,9]]}}', "it says 'res' twice"),
        (
            '[{"seqName": "a", "res": [[1,2,3,4]]}, {"seqName": "a", "res": [[9,2,3,4]]}]',
            "a: it has 2 entries",
        ),
        (
            '[{"seqName": "a", "res": [[1,2,3,4]]}, {"seqName": "b", "res": [[1,2,3,4]]}, '
            '{"seqName": "a", "res": [[9,2,3,4]]}]',
            "several entries of a among other",
        ),
        (
            '{"Walk": [{"evalType": "OPE", "res": [[1,2,3,4]]}, {"res": [[1,2,3,4]]}]}',
            "Walk: it has 2 entries",
        ),
        ('{"Walk": {"res": [[1,2,3,4],[1,Infinity,3,4]]}}', "Walk has a box of inf pixels in row 2"),
        ('{"Walk": "' + "x" * 99 + '"}', "a sequence has no boxes"),
        ("{" + ",".join(f'"{n}":{{}}' for n in range(70_000)) + "}", "it has 70000 sequences: at most 65536"),
        ('{"Walk": {"res": [[1,2,1e300,4]]}}', r"Walk has a box of 1e\+300 pixels in row 1"),
        ('{"Walk": {"res": [["1","２","3","4"]]}}', "its boxes are not numbers"),
        ('{"Walk": {"res": [[1,2,3,"4"], [1,2,3,null]]}}', "its boxes are not numbers"),
        ('{"Walk": {"res": [[1' + "0" * 400 + ",2,3,4]]}}", "too large"),
        (r'{"Wa\ud800lk": {"res": [[1,2,3,4]]}}', "surrogates not allowed"),
    ],
)
def test_ambiguous_and_impossible_json_is_refused(tmp_path, text, why):
    (tmp_path / "CT.json").write_text(text, "utf-8")
    with pytest.raises(JtrackError, match=rf"CT\.json.*({why})"):
        published.read(tmp_path)


def test_a_list_of_sequences_is_read_as_such(tmp_path):
    """All once were the first's: entries of other sequences passed for its segments."""
    entries = [{"seqName": name, "res": [[x, 1, 5, 5]]} for name, x in (("a", 1), ("b", 9))]
    (tmp_path / "CT.json").write_text(json.dumps(entries))
    (results,) = published.read(tmp_path)
    assert {name: trials[0].boxes.tolist() for name, trials in results.trajectories.items()} == {
        "a": [[0, 0, 5, 5]],
        "b": [[8, 0, 5, 5]],
    }


def test_negative_seconds_are_refused(tmp_path):
    (tmp_path / "times").mkdir()
    (tmp_path / "Walk.txt").write_text("1,2,3,4\n1,2,3,4\n")
    (tmp_path / "times" / "Walk_time.txt").write_text("0.5\n-0.25\n")
    with pytest.raises(
        JtrackError, match=r"Walk\.txt has a frame that took -0\.25 seconds: a time is 0 or more"
    ):
        published.read(tmp_path)


def test_results_that_are_no_files_do_not_hang(tmp_path):
    for name in ("KCF.json", "KCF.json.gz", "Walk_KCF.mat"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(JtrackError, match="it is a pipe, not a file"):
            published.read(tmp_path / name)
    with pytest.raises(JtrackError, match="it is a device, not a file"):
        published.read("/dev/zero")
    os.mkfifo(tmp_path / "Walk.txt")
    with pytest.raises(JtrackError, match=r"Walk\.txt: it is a pipe, not a file"):
        published.read(tmp_path)
