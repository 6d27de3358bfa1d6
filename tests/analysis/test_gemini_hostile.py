from __future__ import annotations

import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from gemini_hostile import ACTS, MIB, ObeyingService, hostile
from gemini_service import KEY

from voicepipe.analysis.conversation import CONVERSATION_TYPES, OTHER
from voicepipe.analysis.gemini.analyzer import GeminiAnalyzer
from voicepipe.analysis.gemini.answer import (
    MAX_ANSWER_BYTES,
    UnusableAnswerError,
    Wanted,
    answer_in,
)
from voicepipe.analysis.gemini.clean import cleaned
from voicepipe.analysis.gemini.options import GeminiOptions
from voicepipe.analysis.gemini.texts import visible
from voicepipe.errors import AnalysisError
from voicepipe.types import Analysis


if TYPE_CHECKING:
    from collections.abc import Iterator

    from voicepipe.types import Transcript


@pytest.fixture
def server() -> Iterator[ObeyingService]:
    with ObeyingService() as started:
        yield started


def check(found: Analysis, transcript: Transcript) -> None:
    """Hold an analysis against all that it promises."""
    assert Analysis.from_json(found.to_json()) == found
    found.to_json().encode("utf-8")
    ids = {segment.id for segment in transcript.segments}
    for point in (*found.summary, *found.key_points):
        assert point.segment_ids
        assert ids.issuperset(point.segment_ids)
        assert 0 < len(point.text) <= 600
        assert point.text.isprintable()
    assert found.conversation_type in {*CONVERSATION_TYPES, OTHER}
    assert [line.segment_id for line in found.clean_lines] == sorted(ids)
    for line, segment in zip(found.clean_lines, transcript.segments, strict=True):
        said = visible(segment.text)
        assert line.text.isprintable()
        assert (
            line.text == said
            or cleaned(said, line.text, change=0.5, english=True) == line.text
        )


@pytest.mark.parametrize("number", range(len(ACTS)), ids=[a.order for a in ACTS])
async def test_a_model_that_obeys_callers_gives_a_valid_analysis_or_a_typed_failure(
    number: int, server: ObeyingService
) -> None:
    act, transcript = ACTS[number], hostile(number)
    # Drops alone take so long; on a busy machine the head of an answer may, too.
    drops = act.order == "send it drop by drop"
    for limit_s in (2.0, 20.0) if drops else (30.0,):
        for told in (server.requests, server.asked, server.obeyed):
            told.clear()
        server.paid = 0
        options = GeminiOptions(base_url=server.base, timeout_s=limit_s)
        analyzer = GeminiAnalyzer(api_key=KEY, options=options)

        outcome = "valid"
        try:
            found = await analyzer.analyze(transcript)
        except AnalysisError as exc:
            outcome = str(exc.reason)
            error = exc
        else:
            check(found, transcript)
            assert act.check(found)
            assert found.report is not None
            assert found.report.calls == server.paid
        if len(server.requests) <= 3:
            break

    if outcome != "valid":
        assert not error.retryable
        assert act.order not in str(error)
        assert "pwned" not in str(error).lower()
        assert str(error).isprintable()
    assert outcome == act.expected
    assert set(server.obeyed) == {act.order}
    assert server.paid == len(server.requests) <= 3
    assert len({asked.nonce for asked in server.asked}) == len(server.asked)


def test_there_are_at_least_sixty_orders() -> None:
    assert len({act.order for act in ACTS}) == len(ACTS) >= 60


@pytest.mark.parametrize(
    "text",
    [
        "[" * (MAX_ANSWER_BYTES - 2),
        "[" + "[]," * (MAX_ANSWER_BYTES // 3 - 1),
        "[" + "{}," * (MAX_ANSWER_BYTES // 3 - 1),
        '{"a":' * (MAX_ANSWER_BYTES // 5 - 1),
        '{"summary":[' + "0," * (MAX_ANSWER_BYTES // 2 - 10),
        '{"summary":[' + '"",' * (MAX_ANSWER_BYTES // 3 - 10),
        '"' + '\\"' * (MAX_ANSWER_BYTES // 2 - 1),
        '"' * MAX_ANSWER_BYTES,
        "{" + ",".join(f'"{at}":0' for at in range(100_000)) + "}",
        "1" * MAX_ANSWER_BYTES,
    ],
    ids=range(10),
)
def test_the_worst_answer_is_read_in_bounded_memory(text: str) -> None:
    body = text.encode()
    wanted = Wanted(ids={0}, labels=(OTHER,), summary=5, key_points=5, clean=True)

    tracemalloc.start()
    with pytest.raises(UnusableAnswerError):
        answer_in(body, wanted)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(body) <= MAX_ANSWER_BYTES
    assert peak <= 64 * MIB


def test_ten_megabytes_are_refused_in_little_memory() -> None:
    code = """
import sys
import anyio
from gemini_hostile import ACTS, ObeyingService, hostile
from gemini_service import KEY
from own_peak import peak_bytes
from voicepipe.analysis.gemini.analyzer import GeminiAnalyzer
from voicepipe.analysis.gemini.options import GeminiOptions
from voicepipe.analysis.gemini.texts import visible
from voicepipe.errors import AnalysisError

orders = [act.order for act in ACTS]

async def main(base):
    analyzer = GeminiAnalyzer(api_key=KEY, options=GeminiOptions(base_url=base))
    await analyzer.analyze(hostile(orders.index("write brackets")))
    before = peak_bytes()
    for order in ("write ten megabytes", "write ten megabytes around", "send a bomb"):
        try:
            await analyzer.analyze(hostile(orders.index(order)))
        except AnalysisError as exc:
            print(exc.reason)
    print((peak_bytes() - before) >> 20)

anyio.run(main, sys.argv[1])
"""
    with ObeyingService() as server:
        done = subprocess.run(
            [sys.executable, "-c", code, server.base],
            capture_output=True,
            check=False,
            cwd="tests",
            text=True,
        )

    assert done.returncode == 0, done.stderr
    *reasons, grown = done.stdout.split()
    assert reasons == ["unusable"] * 3
    assert int(grown) <= 64
