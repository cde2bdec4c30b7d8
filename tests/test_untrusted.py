"""Limits and sentences for files from elsewhere."""

import os
import pickle

import pytest

from jtrack.errors import LONGEST_MESSAGE, JtrackError, printable
from jtrack.untrusted import json_of, listed, read_file, reading, regular_file


@pytest.mark.parametrize(
    "text, shown",
    [
        ("Bolt", "Bolt"),
        ("Škoda 東京", "Škoda 東京"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("abc\u202egnp.exe", r"abc\u202egnp.exe"),
        ("line\u2028break\x85", r"line\u2028break\x85"),
        ("half\udc80", r"half\udc80"),
    ],
)
def test_printable_text_is_one_harmless_line(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    assert str(JtrackError(text)) == shown


def test_a_long_message_keeps_its_ends():
    message = str(JtrackError("begin" + "x" * 100_000 + "end"))
    assert len(message) <= LONGEST_MESSAGE
    assert message.startswith("beginx") and message.endswith("xend") and " ... " in message


def test_an_error_survives_pickling():
    error = JtrackError("one\ntwo")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


@pytest.mark.parametrize(
    "raised, said",
    [
        (SyntaxError("bad token"), "bad token"),
        (MemoryError(), "more memory than there is"),
        (RecursionError("deep"), "nested too deeply"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (KeyError(), "KeyError"),
        (ValueError("a\x1b[31m" + "y" * 9000), r"a\x1b[31m"),
    ],
)
def test_whatever_a_parser_raises_becomes_one_sentence(raised, said):
    with pytest.raises(JtrackError) as caught, reading("weights a.npz", "fetch them again"):
        raise raised
    message = str(caught.value)
    assert message.startswith("weights a.npz cannot be read (") and message.endswith(": fetch them again")
    assert said in message and len(message) < 300


def test_an_interrupt_and_a_sentence_pass_through():
    with pytest.raises(KeyboardInterrupt), reading("a"):
        raise KeyboardInterrupt
    with pytest.raises(JtrackError, match=r"^as it was$"), reading("a"):
        raise JtrackError("as it was")


def test_only_plain_files_are_read(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"12345")
    (tmp_path / "link").symlink_to(plain)
    os.mkfifo(tmp_path / "pipe")
    assert regular_file(plain) == plain and regular_file(tmp_path / "link", largest=5)
    for path, said in [
        (tmp_path / "pipe", "a pipe"),
        ("/dev/zero", "a device"),
        (tmp_path, "a folder"),
        (tmp_path / "none", "No such file"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(JtrackError, match=said):
            regular_file(path)
    with pytest.raises(JtrackError, match="has 5 bytes: at most 4"):
        regular_file(plain, largest=4)


def test_hidden_entries_are_not_listed(tmp_path):
    for name in ("b.txt", "a.txt", "._a.txt", ".a.txt", "__MACOSX", "c.csv"):
        (tmp_path / name).touch()
    assert [path.name for path in listed(tmp_path)] == ["a.txt", "b.txt", "c.csv"]
    assert [path.name for path in listed(tmp_path, "*.txt")] == ["a.txt", "b.txt"]
    assert listed(tmp_path / "nowhere") == []
    with pytest.raises(JtrackError, match=r"cannot open folder .*a\.txt: Not a directory"):
        listed(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "data, why",
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "it says 'c' twice"),
        (rb'{"a": ["\ud800"]}', "surrogates not allowed"),
        (rb'{"\uDFFF": 1}', "surrogates not allowed"),
        (b'["\xed\xa0\x80"]', "invalid continuation byte"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_json_that_is_ambiguous_or_cannot_be_written_again_is_refused(data, why):
    with pytest.raises(JtrackError, match=why), reading("a.json"):
        json_of(data)
    assert json_of(rb'{"a": "\ud83d\ude00", "b": 1}') == {"a": "\U0001f600", "b": 1}


def test_a_file_is_read_whole_or_refused(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_file(path, largest=5) == b"12345"
    with pytest.raises(JtrackError, match="a has 5 bytes: at most 4 are read"):
        read_file(path, largest=4)
    for make, words in (
        (os.mkfifo, "it is a pipe, not a file"),
        (os.mkdir, "it is a folder, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
        (lambda path: path.symlink_to("nowhere"), "No such file or directory"),
    ):
        other = tmp_path / str(len(list(tmp_path.iterdir())))
        make(other)
        with pytest.raises(JtrackError, match=f"cannot read {other}: {words}"):
            read_file(other, largest=100)


def test_a_key_that_is_there_twice_is_found_among_many():
    data = ("{" + "".join(f'"{k}": 0, ' for k in range(300_000)) + '"299999": 1}').encode()
    with pytest.raises(JtrackError, match="says '299999' twice"), reading("a.json"):
        json_of(data)


def test_text_that_is_escaped_keeps_to_its_length():
    for text in ("\x1b" * 1000, "\U000e0001" * 1000, "a" * 5000, "\x1b" * 150, "ab" * 99):
        shown = printable(text, 200)
        assert len(shown) <= 200 and shown.isprintable()
    assert printable("\x1b" * 60, 200) == "\\x1b" * 24 + " ... " + "\\x1b" * 24
    assert printable("\x1b" * 50, 200) == "\\x1b" * 50


def test_a_folders_name_that_is_none_is_refused():
    with pytest.raises(JtrackError, match="null"):
        listed("a\0b")
