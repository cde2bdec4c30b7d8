"""`jtrack view --figure`: chosen frames with everybody's boxes."""

import cv2
import pytest

from tests.cli import test_view_command

LENGTHS, world = test_view_command.LENGTHS, test_view_command.world  # world: the fixture


def command(world, *more, root="otb", names=("Near", "Far")):
    files = [world / f"{name}_OPE.json.gz" for name in names]
    return ["view", *files, "--root", world / root, *more]


def test_a_figure_is_two_files_and_no_page(jtrack, world, tmp_path):
    frames = ["--frames", "Deer:2,12", "--frames", "Fish"]
    done = jtrack(*command(world, "--figure", tmp_path / "new" / "some.pdf", *frames))
    files = [tmp_path / "new" / f"some.{kind}" for kind in ("png", "pdf")]
    assert done.stdout == f"wrote {files[0]} and {files[1]}\n"
    assert done.stderr == "jtrack: Far has no box in Fish (all frames)\n"
    assert sorted((tmp_path / "new").iterdir()) == sorted(files)
    assert files[1].read_bytes().startswith(b"%PDF-")
    # Fish has five frames in its row, Deer two: two rows of pictures as wide as a fifth.
    picture = cv2.imread(str(files[0]))
    assert picture.shape[1] == 7 * 256 and (picture[:, :, 0] < 250).any(axis=1).sum() > 2 * 200
    again = [*command(world, "--figure", tmp_path / "new" / "some", "--frames", "Deer:2")]
    assert "some.png exists" in jtrack(*again, code=2).stderr
    before = files[0].read_bytes()
    jtrack(*again, "--overwrite")
    assert files[0].read_bytes() != before and sorted((tmp_path / "new").iterdir()) == sorted(files)


def test_pages_and_figure_at_once_and_images_from_elsewhere(jtrack, world, tmp_path):
    more = ["--images", world / "otb", "--out", tmp_path / "pages", "--figure", tmp_path / "v1.2"]
    done = jtrack(*command(world, *more, root="bare"))
    assert "wrote 2 pages" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"pages", "v1.2.png", "v1.2.pdf"}


@pytest.mark.parametrize(
    ("root", "more", "message"),
    [
        ("otb", ["--frames", "Deer:2"], "give --figure FILE"),
        ("otb", [], "give --out FOLDER for pages, or --figure FILE"),
        ("otb", ["--figure", "new", "--frames", "Deer:0"], "--frames is Deer:0: give a sequence"),
        ("otb", ["--figure", "new", "--frames", "Deer:1,,2"], "--frames is Deer:1,,2"),
        ("otb", ["--figure", "new", "--frames", ":1"], "--frames is :1"),
        ("otb", ["--figure", "new", "--frames", "Deer:1", "--frames", "Deer:2"], "names Deer twice"),
        ("otb", ["--figure", "new", "--frames", "Dear:1"], "did you mean 'Deer'"),
        ("otb", ["--figure", "new", "--frames", "Deer:13"], "its frames are 1 to 12"),
        ("bare", ["--figure", "new", "--frames", "Deer:1"], "Deer alone, no images"),
        ("otb", ["--figure", "there/new", "--frames", "Deer:1"], "there is not a folder"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(jtrack, world, tmp_path, monkeypatch, root, more, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("")
    assert message in jtrack(*command(world, *more, root=root), code=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
