"""The transcriber that a server's settings name, and what it does without it."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, TypeAlias

import anyio
import anyio.to_thread
import attrs

from voicepipe.asr.openai.options import OpenAIOptions
from voicepipe.asr.openai.transcriber import OpenAITranscriber
from voicepipe.asr.sphinx import PocketSphinxTranscriber
from voicepipe.asr.whisper.options import WhisperOptions
from voicepipe.asr.whisper.transcriber import WhisperTranscriber
from voicepipe.errors import (
    InvalidUrlError,
    MissingExtraError,
    ModelUnavailableError,
    SettingsError,
    VoicepipeError,
)
from voicepipe.servers.engines.names import EngineName, parse_engine
from voicepipe.servers.env import env_text


if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe.asr.whisper.options import WhisperSetup
    from voicepipe.protocols import Transcriber
    from voicepipe.types import Audio, Transcript


_Engine: TypeAlias = OpenAITranscriber | PocketSphinxTranscriber | WhisperTranscriber

_logger = logging.getLogger(__name__)

PATIENCE_S = 10.0
"""Seconds after which a server begins, though its model may still be on its way."""

EMBEDDED = "pocketsphinx"
"""The engine that needs no download, no key and no network."""

_TRANSCRIBERS = {EMBEDDED: "", "whisper": "<name or folder>", "openai": "<model>"}

_OPENAI_URL = OpenAIOptions().base_url

_LANGUAGE = re.compile(
    r"[a-z]{2,3}", re.ASCII
)  # ISO 639-1; Whisper has "yue" and "haw"


def parse_transcriber(
    text: str, *, variable: str = "VOICEPIPE_TRANSCRIBER"
) -> EngineName:
    """
    Read ``pocketsphinx``, ``whisper:<name or folder>`` or ``openai:<model>``.

    Raises:
        SettingsError: If it is none of them; the message does not hold it.
    """
    return parse_engine(text, _TRANSCRIBERS, variable)


@attrs.frozen(kw_only=True)
class TranscriberSettings:
    """
    Which transcriber a server uses.

    Attributes:
        engine: ``VOICEPIPE_TRANSCRIBER``, or what the server takes where that is not
            set.
        fallback: Whether the embedded engine may take its place: where nobody has asked
            for it by name.
        language: ``VOICEPIPE_LANGUAGE``: ISO 639-1 code of what is spoken; ``None`` to
            find out each time. The embedded engine hears English only.
        openai_key: ``OPENAI_API_KEY``; not in the repr. Empty for a service without.
        openai_url: ``OPENAI_BASE_URL``; not in the repr, since it may hold a password.
    """

    engine: EngineName
    fallback: bool = False
    language: str | None = None
    openai_key: str = attrs.field(default="", repr=False)
    openai_url: str = attrs.field(default=_OPENAI_URL, repr=False)

    @classmethod
    def from_env(
        cls, env: Mapping[str, str], *, whisper: str = "small", hosted: str = ""
    ) -> TranscriberSettings:
        """
        Read the variables; ``read_env`` gives a mapping.

        Args:
            env: Names and values.
            whisper: The Whisper model where ``VOICEPIPE_TRANSCRIBER`` is not set.
            hosted: The model of OpenAI's that goes before it where there is a key;
                empty for none.

        Raises:
            SettingsError: If one is wrong, or there is no key for OpenAI; the message
                names the variable, without its value.
        """
        chosen = env_text(env, "VOICEPIPE_TRANSCRIBER")
        key = _key(env)
        if chosen:
            engine = parse_transcriber(chosen)
        elif hosted and key:
            engine = EngineName("openai", hosted)
        else:
            engine = EngineName("whisper", whisper)
        url = _url(env)
        if engine.kind == "openai" and not key and url == _OPENAI_URL:
            raise SettingsError(
                "OPENAI_API_KEY",
                "must be set for OpenAI's own service"
                " (or OPENAI_BASE_URL, for another one that wants no key)",
            )
        return cls(
            engine=engine,
            fallback=not chosen and engine.kind == "whisper",
            language=_language(env),
            openai_key=key,
            openai_url=url,
        )


def _key(env: Mapping[str, str]) -> str:
    key = env_text(env, "OPENAI_API_KEY")
    if not key.isascii():
        raise SettingsError("OPENAI_API_KEY", "must be ASCII")
    return key


def _url(env: Mapping[str, str]) -> str:
    try:
        given = env_text(env, "OPENAI_BASE_URL")
        return OpenAIOptions(base_url=given).base_url if given else _OPENAI_URL
    except InvalidUrlError:
        # Not as the cause: its message has the URL.
        wanted = "must be a URL such as http://127.0.0.1:8000/v1"
        raise SettingsError("OPENAI_BASE_URL", wanted) from None


def _language(env: Mapping[str, str]) -> str | None:
    language = env_text(env, "VOICEPIPE_LANGUAGE")
    if language and not _LANGUAGE.fullmatch(language):
        raise SettingsError("VOICEPIPE_LANGUAGE", "must be a code such as en")
    return language or None


class OpenedTranscriber:
    """The transcriber of a server; ``open_transcriber`` makes it."""

    def __init__(
        self,
        engine: _Engine,
        settings: TranscriberSettings,
        *,
        loading: bool = False,
        reason: str = "",
    ) -> None:
        """Take an engine over."""
        self._engine = engine
        self._settings = settings
        self._loading = loading
        self._reason = reason

    @property
    def transcriber(self) -> Transcriber:
        """
        What to use, from now on.

        The engine itself, which may be a ``StreamingTranscriber`` too; while it is
        ``loading``, one whose calls wait for it, and go to its stand-in if need be.
        """
        return self if self._loading else self._engine

    @property
    def name(self) -> str:
        """The engine's name, such as ``whisper:small``."""
        return EMBEDDED if self.degraded else str(self._settings.engine)

    @property
    def loading(self) -> bool:
        """Whether the model is still on its way: calls wait for it."""
        return self._loading

    @property
    def degraded(self) -> bool:
        """Whether the embedded engine hears instead of the one that was meant."""
        return bool(self._reason)

    @property
    def reason(self) -> str:
        """Why it is degraded, for the log: it may hold paths. Empty if it is not."""
        return self._reason

    async def finish(self) -> None:
        """
        Wait until a model that is on its way is there, or cannot be had.

        For a task beside the server, so that ``loading`` and ``degraded`` come true
        before a call has to wait. An error is logged; calls have it too.

        Cancellation: harmless; the next call goes on with it.
        """
        try:
            await self.load()
        except VoicepipeError:
            _logger.exception("%s is not to be had", self.name)

    async def load(self) -> None:
        """
        Load a model that is on its way, or have the embedded engine take its place.

        Raises:
            MissingExtraError: If the embedded engine is not installed.
            ModelUnavailableError: If nothing may take its place.
            SettingsError: If the model does not know the language.
        """
        engine = self._engine
        if not self._loading or not isinstance(engine, WhisperTranscriber):
            return
        try:
            await engine.load()
        except ModelUnavailableError as exc:
            self._degrade(exc)
        except ValueError as exc:  # it lists the languages
            wanted = "must be a language that the model knows"
            raise SettingsError("VOICEPIPE_LANGUAGE", wanted) from exc
        self._loading = False

    def _degrade(self, reason: MissingExtraError | ModelUnavailableError) -> None:
        """
        Go on with the embedded engine, and say so; again is harmless.

        Raises:
            MissingExtraError: If it is not installed either.
            ModelUnavailableError: The reason, if nothing may take the engine's place.
        """
        if not self.degraded:
            self._engine = _embedded(self._settings, reason)
            self._reason = str(reason)
        self._loading = False

    async def transcribe(self, audio: Audio, /) -> Transcript:
        """Transcribe with a model that may be on its way; see ``Transcriber``."""
        try:
            transcript = await self._engine.transcribe(audio)
        except ModelUnavailableError as exc:
            self._degrade(exc)
            return await self._engine.transcribe(audio)
        self._loading = False
        return transcript

    async def aclose(self) -> None:
        """Stop helper processes, and let go of the model."""
        if not isinstance(self._engine, OpenAITranscriber):
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._engine.close)


async def open_transcriber(
    settings: TranscriberSettings,
    *,
    whisper: WhisperOptions | None = None,
    setup: WhisperSetup | None = None,
    openai: OpenAIOptions | None = None,
    patience_s: float = PATIENCE_S,
) -> OpenedTranscriber:
    """
    Make the transcriber that is wanted, or the embedded one with a WARNING.

    A Whisper model is loaded, and downloaded if need be. What takes longer than
    ``patience_s`` goes on beside the server, as ``loading``. Whether a model can be had
    is known before that, but for a download that breaks off later.

    Args:
        settings: Which one.
        whisper: What to ask of a Whisper model; the settings' language goes before.
        setup: What to run it on.
        openai: How to ask a service; the settings' URL and language go before.
        patience_s: Longest wait for a model.

    Raises:
        MissingExtraError: If its package is not installed, and nothing may take its
            place, or the embedded engine is not installed either.
        ModelUnavailableError: If it was asked for by name, and is not to be had.
        SettingsError: If the model does not know the language.

    Cancellation: a download goes on in its thread, and serves the next start.
    """
    engine, language = settings.engine, settings.language
    if engine.kind == EMBEDDED:
        return OpenedTranscriber(PocketSphinxTranscriber(), settings)
    if engine.kind == "openai":
        asked = openai or OpenAIOptions()
        asked = attrs.evolve(
            asked,
            base_url=settings.openai_url,
            language=language or asked.language,
        )
        return OpenedTranscriber(
            OpenAITranscriber(engine.model, api_key=settings.openai_key, options=asked),
            settings,
        )
    options = whisper or WhisperOptions()
    options = attrs.evolve(options, language=language or options.language)
    try:
        model = WhisperTranscriber(engine.model, setup=setup, options=options)
    except MissingExtraError as exc:
        return OpenedTranscriber(_embedded(settings, exc), settings, reason=str(exc))
    opened = OpenedTranscriber(model, settings, loading=True)
    with anyio.move_on_after(patience_s) as patience:
        await opened.load()
    if patience.cancelled_caught:
        _logger.info("%s is not loaded yet; calls wait for it", engine)
    return opened


def _embedded(
    settings: TranscriberSettings, reason: MissingExtraError | ModelUnavailableError
) -> PocketSphinxTranscriber:
    """Make the engine that takes another's place, if it may, and say so."""
    if not settings.fallback:
        raise reason
    _logger.warning(
        "%s is not to be had, so that %s hears instead: English only, and with many"
        " more errors, on telephone sound above all. %s",
        settings.engine,
        EMBEDDED,
        reason,
    )
    try:
        return PocketSphinxTranscriber()
    except MissingExtraError as exc:
        raise exc from reason
