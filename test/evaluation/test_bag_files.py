"""Bags of every kind are read alike; what is damaged is used as far as it goes, and said."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from fakes.bags import sensor_messages, write_messages, write_ros1
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from geoflow_ros.errors import InputError
from geoflow_ros.evaluation.bag_files import Bag

EXPECTED = {"/camera/image/compressed": 13, "/ground_truth/odom": 61, "/initialpose": 1, "/odom": 61}


def counted(path: Path) -> tuple[dict[str, int], list[str]]:
    """Reads all messages; returns their numbers by topic, and the notes."""
    with Bag(path) as bag:
        counts = dict.fromkeys((topic.name for topic in bag.topics), 0)
        for topic, _, message in bag.messages([*counts]):
            assert message.header.stamp.sec
            counts[topic] += 1
        return counts, bag.notes


@pytest.fixture
def mcap(tmp_path: Path) -> Path:
    return write_messages(tmp_path / "drive", sensor_messages())


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("compression", [None, CompressionMode.FILE, CompressionMode.MESSAGE])
def test_both_storages_are_read_with_and_without_compression(
    tmp_path: Path, storage: StoragePlugin, compression: CompressionMode | None
) -> None:
    bag = write_messages(tmp_path / "drive", sensor_messages(), storage, compression)
    assert counted(bag) == (EXPECTED, [])


def test_compressed_chunks_and_ros_1_are_read(tmp_path: Path) -> None:
    assert (
        counted(write_messages(tmp_path / "a", sensor_messages(), compression=CompressionMode.STORAGE))[0] == EXPECTED
    )
    assert counted(write_ros1(tmp_path / "b.bag", sensor_messages())) == (EXPECTED, [])


@pytest.mark.parametrize("compression", [None, CompressionMode.FILE])
def test_without_metadata_the_files_are_read_by_themselves(tmp_path: Path, compression: CompressionMode | None) -> None:
    bag = write_messages(tmp_path / "drive", sensor_messages(), compression=compression)
    (bag / "metadata.yaml").unlink()
    counts, notes = counted(bag)
    assert counts == EXPECTED
    assert "no metadata.yaml" in " ".join(notes)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("version: 9", "version: 99", "99"), ("storage_identifier: mcap", "storage_identifier: ''", "''")],
)
def test_odd_metadata_is_said_and_the_files_are_read(mcap: Path, old: str, new: str, said: str) -> None:
    metadata = mcap / "metadata.yaml"
    text = metadata.read_text()
    assert old in text
    metadata.write_text(text.replace(old, new))
    counts, notes = counted(mcap)
    assert counts == EXPECTED
    assert len(notes) == 1
    assert said in notes[0]


def test_a_split_bag_is_one_drive_also_without_metadata(tmp_path: Path) -> None:
    messages = list(sensor_messages())
    split = tmp_path / "split"
    split.mkdir()
    for number, part in enumerate((messages[:70], messages[70:])):
        folder = write_messages(tmp_path / f"part_{number}", part)
        shutil.copyfile(next(folder.glob("*.mcap")), split / f"drive_{number}.mcap")
    assert counted(split)[0] == EXPECTED


@pytest.mark.parametrize("compression", [None, CompressionMode.STORAGE])
def test_of_a_file_that_was_cut_off_the_beginning_is_used(tmp_path: Path, compression: CompressionMode | None) -> None:
    bag = write_messages(tmp_path / "drive", sensor_messages(400.0), compression=compression)
    file = next(bag.glob("*.mcap"))
    whole = file.read_bytes()
    (cut := tmp_path / "cut.mcap").write_bytes(whole[: round(0.7 * len(whole))])
    counts, notes = counted(cut)
    assert 0 < counts["/odom"] < 4001
    assert len(notes) == 1
    assert "cut off" in notes[0]
    assert "mcap recover" in notes[0]


@pytest.mark.parametrize("name", ["nothing.mcap", "nothing.db3", "nothing.bag"])
@pytest.mark.parametrize("content", [b"", b"this is no bag at all"])
def test_what_holds_nothing_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="truncated or damaged") as caught:
        Bag(tmp_path / name)
    assert "\n" not in str(caught.value)
