"""Absolute headings that wait for the track."""

from __future__ import annotations

from geoflow_ros.tracking.headings import Heading, HeadingQueue

MS = 1_000_000


def queue_of(*stamps_ms: int) -> HeadingQueue:
    queue = HeadingQueue()
    for stamp_ms in stamps_ms:
        queue.add(Heading(stamp_ms * MS, 0.1, 0.02))
    return queue


def stamps_ms(queue: HeadingQueue, until_ms: int) -> list[int]:
    return [heading.stamp_ns // MS for heading in queue.pop_until(until_ms * MS)]


def test_of_headings_at_a_hundred_hertz_five_a_second_are_kept() -> None:
    assert stamps_ms(queue_of(*range(0, 1000, 10)), 1000) == [0, 200, 400, 600, 800]


def test_headings_come_out_once_and_only_up_to_the_stamp_that_is_asked_for() -> None:
    queue = queue_of(0, 300, 600)
    assert stamps_ms(queue, 300) == [0, 300]
    assert stamps_ms(queue, 500) == []
    assert stamps_ms(queue, 1000) == [600]
    assert queue.newest is None


def test_a_clock_that_jumps_back_clears_what_waited() -> None:
    assert stamps_ms(queue_of(5000, 6000, 100, 400), 9000) == [100, 400]
