"""The diarizer that a server's settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from voicepipe.asr.diarize import ChannelDiarizer
from voicepipe.asr.pyannote import DEFAULT, PyannoteDiarizer
from voicepipe.asr.speakers.call import CallDiarizer
from voicepipe.asr.speakers.diarizer import SpeakerDiarizer
from voicepipe.asr.voice_activity import voice_activity
from voicepipe.servers.engines.names import EngineName, parse_engine
from voicepipe.servers.env import env_text


if TYPE_CHECKING:
    from collections.abc import Mapping

    from voicepipe.protocols import Diarizer


_DIARIZERS = {"channel": "", "embedded": "", "pyannote": ""}
_NAMED = {"pyannote": "<name or folder>"}


@attrs.frozen(kw_only=True)
class DiarizerSettings:
    """
    Which diarizer a server uses.

    Attributes:
        engine: ``VOICEPIPE_DIARIZER``: ``channel``, ``embedded``, ``pyannote`` or
            ``pyannote:<name or folder>``. ``None`` where it is not set: ``channel``
            where channels differ, ``embedded`` else.
        token: ``HF_TOKEN``, which pyannote's models want; not in the repr.
    """

    engine: EngineName | None = None
    token: str = attrs.field(default="", repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> DiarizerSettings:
        """
        Read the variables; ``read_env`` gives a mapping.

        Raises:
            SettingsError: If one is wrong; the message names it, without its value.
        """
        variable = "VOICEPIPE_DIARIZER"
        chosen = env_text(env, variable)
        kinds = _NAMED if chosen.startswith("pyannote:") else _DIARIZERS
        engine = parse_engine(chosen, kinds, variable) if chosen else None
        return cls(engine=engine, token=env_text(env, "HF_TOKEN"))

    @property
    def name(self) -> str:
        """The engine's name, ``auto`` where the recording decides."""
        return str(self.engine or "auto")


def open_diarizer(settings: DiarizerSettings) -> Diarizer:
    """
    Make the diarizer that is wanted.

    pyannote's models are fetched, where they are not here, with the first recording.

    Raises:
        MissingExtraError: If its package is not installed.
    """
    engine = settings.engine
    match None if engine is None else engine.kind:
        case "channel":
            return ChannelDiarizer(detector=voice_activity)
        case "embedded":
            return SpeakerDiarizer()
        case "pyannote" if engine is not None:
            pipeline = engine.model or DEFAULT
            return PyannoteDiarizer(pipeline, token=settings.token or None)
        case _:
            return CallDiarizer()
