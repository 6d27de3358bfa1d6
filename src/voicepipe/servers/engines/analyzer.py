"""The analyzer that a server's settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from voicepipe.analysis.extractive import ExtractiveAnalyzer
from voicepipe.analysis.gemini.analyzer import GeminiAnalyzer
from voicepipe.analysis.gemini.options import GeminiOptions
from voicepipe.errors import InvalidUrlError, SettingsError
from voicepipe.servers.engines.names import EngineName, parse_engine
from voicepipe.servers.env import env_text


if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe.protocols import Analyzer


_ANALYZERS = {"extractive": "", "gemini": "<model>"}

_MODEL = "gemini-2.5-flash"

_GEMINI_URL = GeminiOptions().base_url

_NO_KEY = "none"


@attrs.frozen(kw_only=True)
class AnalyzerSettings:
    """
    Which analyzer a server uses.

    Attributes:
        engine: ``VOICEPIPE_ANALYZER``: ``extractive`` or ``gemini:<model>``. Where it
            is not set, ``gemini:`` and ``LLM_MODEL`` if there is a key, else
            ``extractive``.
        language: ``VOICEPIPE_ANALYSIS_LANGUAGE``: in which summary and key points are
            written, where a language model writes them; ``None`` for that of the
            conversation.
        gemini_key: ``GEMINI_API_KEY``; not in the repr. Empty for a service without.
        gemini_url: ``GEMINI_BASE_URL``; not in the repr, since it may hold a password.
    """

    engine: EngineName
    language: str | None = None
    gemini_key: str = attrs.field(default="", repr=False)
    gemini_url: str = attrs.field(default=_GEMINI_URL, repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> AnalyzerSettings:
        """
        Read the variables; ``read_env`` gives a mapping.

        Raises:
            SettingsError: If one is wrong, or there is no key for Gemini; the message
                names the variable, without its value.
        """
        chosen = env_text(env, "VOICEPIPE_ANALYZER")
        key, url = env_text(env, "GEMINI_API_KEY"), _url(env)
        if not key.isascii():
            raise SettingsError("GEMINI_API_KEY", "must be ASCII")
        if chosen:
            engine = parse_engine(chosen, _ANALYZERS, "VOICEPIPE_ANALYZER")
        elif key:
            engine = EngineName("gemini", env_text(env, "LLM_MODEL", _MODEL))
        else:
            engine = EngineName("extractive")
        if engine.kind == "gemini" and not key and url == _GEMINI_URL:
            raise SettingsError(
                "GEMINI_API_KEY",
                "must be set for Google's own service"
                " (or GEMINI_BASE_URL, for another one that wants no key)",
            )
        return cls(
            engine=engine, language=_language(env), gemini_key=key, gemini_url=url
        )


def _url(env: Mapping[str, str]) -> str:
    try:
        given = env_text(env, "GEMINI_BASE_URL")
        return GeminiOptions(base_url=given).base_url if given else _GEMINI_URL
    except ValueError as exc:
        if not isinstance(exc, InvalidUrlError):
            wanted = "must have no user, password, query or fragment"
            raise SettingsError("GEMINI_BASE_URL", wanted) from None
        # Not as the cause: its message has the URL.
        wanted = "must be a URL such as http://127.0.0.1:8000"
        raise SettingsError("GEMINI_BASE_URL", wanted) from None


def _language(env: Mapping[str, str]) -> str | None:
    name = "VOICEPIPE_ANALYSIS_LANGUAGE"
    language = env_text(env, name) or None
    try:
        return GeminiOptions(language=language).language
    except ValueError:
        wanted = "must be a code such as en, or an English name such as Spanish"
        raise SettingsError(name, wanted) from None


def open_analyzer(
    settings: AnalyzerSettings, *, gemini: GeminiOptions | None = None
) -> Analyzer:
    """
    Make the analyzer that is wanted.

    Args:
        settings: Which one.
        gemini: How to ask Gemini; the settings' URL and language go before.

    Raises:
        MissingExtraError: If its package is not installed.
        SettingsError: If the model's name is none.
    """
    engine = settings.engine
    if engine.kind != "gemini":
        return ExtractiveAnalyzer()
    options = gemini or GeminiOptions()
    options = attrs.evolve(
        options,
        base_url=settings.gemini_url,
        language=settings.language or options.language,
    )
    key = settings.gemini_key or _NO_KEY
    try:
        return GeminiAnalyzer(engine.model, api_key=key, options=options)
    except ValueError:
        raise SettingsError(
            "VOICEPIPE_ANALYZER", "must name a model of Gemini (as must LLM_MODEL)"
        ) from None
