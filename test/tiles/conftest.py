"""Fixtures of the tests about tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fakes.answering_server import AnsweringServer


@pytest.fixture
def serve() -> Iterator[Callable[..., AnsweringServer]]:
    """Starts servers that answer as they are told, and ends them with the test."""
    with ExitStack() as servers:
        yield lambda answer: servers.enter_context(AnsweringServer(answer))
