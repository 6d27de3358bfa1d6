from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gemini_service import KEY, GeminiService
from test_missing_extras import run_without

from voicepipe import Segment, SettingsError, Transcript
from voicepipe.analysis.gemini.options import GeminiOptions
from voicepipe.servers.engines import AnalyzerSettings, EngineName, open_analyzer


if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


read = AnalyzerSettings.from_env

TRANSCRIPT = Transcript.of(
    (
        Segment(start=0.0, end=2.0, text="good morning", speaker="Speaker00"),
        Segment(start=2.0, end=9.0, text="a large pizza please", speaker="Speaker01"),
    ),
    duration=10.0,
    model="test",
    language="en",
)


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "extractive"),
        ({"LLM_MODEL": "gemini-x"}, "extractive"),
        ({"GEMINI_API_KEY": f" {KEY} "}, "gemini:gemini-2.5-flash"),
        ({"GEMINI_API_KEY": KEY, "LLM_MODEL": "gemini-x"}, "gemini:gemini-x"),
        ({"GEMINI_API_KEY": KEY, "VOICEPIPE_ANALYZER": "extractive"}, "extractive"),
        (
            {
                "GEMINI_API_KEY": KEY,
                "VOICEPIPE_ANALYZER": "gemini:a",
                "LLM_MODEL": "b",
            },
            "gemini:a",
        ),
        (
            {"GEMINI_BASE_URL": "http://127.0.0.1:9", "VOICEPIPE_ANALYZER": "gemini:a"},
            "gemini:a",
        ),
    ],
    ids=str,
)
def test_what_is_asked_for_goes_before_a_key_and_a_key_before_none(
    env: Mapping[str, str], name: str
) -> None:
    assert str(read(env).engine) == name


@pytest.mark.parametrize(
    ("variable", "env"),
    [
        ("VOICEPIPE_ANALYZER", {"VOICEPIPE_ANALYZER": "canary"}),
        ("VOICEPIPE_ANALYZER", {"VOICEPIPE_ANALYZER": "gemini"}),
        ("VOICEPIPE_ANALYZER", {"VOICEPIPE_ANALYZER": "extractive:canary"}),
        ("GEMINI_API_KEY", {"VOICEPIPE_ANALYZER": "gemini:canary"}),
        (
            "GEMINI_API_KEY",
            {
                "VOICEPIPE_ANALYZER": "gemini:canary",
                "GEMINI_BASE_URL": GeminiOptions().base_url,
            },
        ),
        ("GEMINI_API_KEY", {"GEMINI_API_KEY": "can\u00e4ry"}),
        ("GEMINI_BASE_URL", {"GEMINI_BASE_URL": "canary"}),
        ("GEMINI_BASE_URL", {"GEMINI_BASE_URL": "file:///canary"}),
        ("GEMINI_BASE_URL", {"GEMINI_BASE_URL": "http://u:canary@127.0.0.1"}),
        ("GEMINI_BASE_URL", {"GEMINI_BASE_URL": "http://127.0.0.1/?canary"}),
        ("VOICEPIPE_ANALYSIS_LANGUAGE", {"VOICEPIPE_ANALYSIS_LANGUAGE": "canary\\n1"}),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(
    variable: str, env: Mapping[str, str]
) -> None:
    with pytest.raises(SettingsError, match=f"^{variable} must ") as caught:
        read(env)

    assert caught.value.variable == variable
    assert "canary" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_neither_key_nor_url_is_in_the_repr() -> None:
    settings = read({"GEMINI_API_KEY": KEY, "GEMINI_BASE_URL": "http://s3cret:1"})

    assert KEY not in repr(settings)
    assert "s3cret" not in repr(settings)
    assert KEY not in repr(open_analyzer(settings))


def test_a_model_that_cannot_be_is_told_without_its_name() -> None:
    settings = read({"GEMINI_API_KEY": KEY, "LLM_MODEL": "../canary?"})

    with pytest.raises(SettingsError, match=r"^VOICEPIPE_ANALYZER must ") as caught:
        open_analyzer(settings)

    assert "canary" not in str(caught.value)


async def test_without_settings_nothing_is_asked_of_anybody() -> None:
    analysis = await open_analyzer(read({})).analyze(TRANSCRIPT)

    assert analysis.model == "extractive"


async def test_gemini_is_asked_with_its_key_in_the_language() -> None:
    with GeminiService() as server:
        settings = read(
            {
                "GEMINI_API_KEY": KEY,
                "GEMINI_BASE_URL": server.base,
                "VOICEPIPE_ANALYSIS_LANGUAGE": "Spanish",
            }
        )
        options = GeminiOptions(base_url="http://127.0.0.1:1", clean=False)
        analyzer = open_analyzer(settings, gemini=options)
        analysis = await analyzer.analyze(TRANSCRIPT)
        [asked] = server.asked

    assert analysis.model == "gemini:gemini-2.5-flash"
    assert "Spanish" in str(asked.body)
    assert not asked.clean
    assert settings.engine == EngineName("gemini", "gemini-2.5-flash")


def test_without_its_package_gemini_says_what_to_install(tmp_path: Path) -> None:
    code = f"""
from voicepipe import MissingExtraError
from voicepipe.servers.engines import AnalyzerSettings, open_analyzer
try:
    open_analyzer(AnalyzerSettings.from_env({{"GEMINI_API_KEY": {KEY!r}}}))
except MissingExtraError as exc:
    print(exc)
"""

    assert "voicepipe[gemini]" in run_without("google", code, tmp_path)
