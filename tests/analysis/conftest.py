"""Shared by the tests of analysis: calls to analyse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from analysis.example_calls import CALLS, Call, transcript_of


if TYPE_CHECKING:
    from collections.abc import Callable

    from voicepipe.types import Transcript


@pytest.fixture(params=CALLS.values(), ids=CALLS)
def call(request: pytest.FixtureRequest) -> Call:
    """Each call in turn."""
    assert isinstance(request.param, Call)
    return request.param


@pytest.fixture
def say() -> Callable[..., Transcript]:
    """Make a transcript of lines such as ``0: hello``."""
    return lambda *lines: transcript_of(lines)
