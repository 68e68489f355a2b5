"""The mailbox between the executor's thread and the worker's."""

from __future__ import annotations

import threading

from geoflow_ros.ros.mailbox import Mailbox


def test_the_newest_value_is_taken_and_the_replaced_one_is_reported() -> None:
    mailbox: Mailbox[int] = Mailbox()
    assert [mailbox.put(number) for number in (1, 2, 3)] == [False, True, True]
    assert mailbox.take() == 3
    assert mailbox.put(4) is False


def test_a_value_wakes_a_thread_that_waits() -> None:
    mailbox: Mailbox[str] = Mailbox()
    taken: list[str | None] = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.put("frame")
    thread.join(10.0)
    assert taken == ["frame"]


def test_closing_wakes_a_thread_that_waits_and_nothing_is_taken_afterwards() -> None:
    mailbox: Mailbox[str] = Mailbox()
    taken: list[str | None] = []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.close()
    thread.join(10.0)
    mailbox.put("too late")
    taken.append(mailbox.take())
    assert taken == [None, None]
