"""Writes a checkpoint as a CTranslate2 folder that faster-whisper loads."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ctranslate2.specs import whisper_spec  # noqa: TID253 - loaded here only

from tiny_whisper.speech import RATE
from tiny_whisper.train.features import HOP, MELS
from tiny_whisper.train.network import (
    ALIGNED,
    DECODER_LAYERS,
    ENCODER_LAYERS,
    HEADS,
    WIDTH,
)
from tiny_whisper.train.vocabulary import EN, FIRST_TIME, SPACE, TIMES, TOKENIZER


if TYPE_CHECKING:
    from numpy.typing import NDArray

_log = logging.getLogger(__name__)

# Never said: a beginning of "zero". CTranslate2 takes a Whisper whose vocabulary has an
# empty token for a multilingual one, and then faster-whisper detects the language.
_UNUSED = SPACE + "ze"


class _Weights:
    """Hands the arrays of a checkpoint to CTranslate2's specification."""

    def __init__(self, state: dict[str, torch.Tensor]) -> None:
        self._state = state

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self._state[name].numpy().astype(np.float32)

    def norm(self, spec: Any, name: str) -> None:
        spec.gamma, spec.beta = self[f"{name}.weight"], self[f"{name}.bias"]

    def linear(self, spec: Any, *names: str) -> None:
        spec.weight = np.concatenate([self[f"{name}.weight"] for name in names])
        # Whisper's keys have no bias.
        spec.bias = np.concatenate(
            [
                self[f"{name}.bias"]
                if f"{name}.bias" in self._state
                else np.zeros(WIDTH, np.float32)
                for name in names
            ]
        )

    def block(self, spec: Any, name: str) -> None:
        """Hand over one layer."""
        own = spec.self_attention
        self.norm(own.layer_norm, f"{name}.norm")
        inner = f"{name}.attention"
        self.linear(own.linear[0], *(f"{inner}.{x}" for x in ("query", "key", "value")))
        self.linear(own.linear[1], f"{inner}.out")
        if f"{name}.cross_norm.weight" in self._state:
            cross = spec.attention
            self.norm(cross.layer_norm, f"{name}.cross_norm")
            self.linear(cross.linear[0], f"{name}.cross.query")
            self.linear(cross.linear[1], f"{name}.cross.key", f"{name}.cross.value")
            self.linear(cross.linear[2], f"{name}.cross.out")
        self.norm(spec.ffn.layer_norm, f"{name}.dense_norm")
        self.linear(spec.ffn.linear_0, f"{name}.wide")
        self.linear(spec.ffn.linear_1, f"{name}.narrow")


def _spec(weights: _Weights) -> Any:
    spec = whisper_spec.WhisperSpec(ENCODER_LAYERS, HEADS, DECODER_LAYERS, HEADS)
    encoder, decoder = spec.encoder, spec.decoder
    for name, convolution in (("conv1", encoder.conv1), ("conv2", encoder.conv2)):
        convolution.weight = weights[f"{name}.weight"]
        convolution.bias = weights[f"{name}.bias"]
    encoder.position_encodings.encodings = weights["positions"]
    weights.norm(encoder.layer_norm, "encoder_norm")
    for number in range(ENCODER_LAYERS):
        weights.block(encoder.layer[number], f"encoder.{number}")
    decoder.embeddings.weight = weights["embedding.weight"]
    decoder.position_encodings.encodings = weights["places"]
    weights.norm(decoder.layer_norm, "decoder_norm")
    for number in range(DECODER_LAYERS):
        weights.block(decoder.layer[number], f"decoder.{number}")
    decoder.projection.weight = decoder.embeddings.weight
    return spec


def convert(checkpoint: Path, out: Path) -> None:
    """
    Convert the average of a checkpoint to int8.

    Args:
        checkpoint: What a stage has kept.
        out: The folder; its files are replaced.
    """
    state = torch.load(checkpoint, map_location="cpu")["average"]
    spec = _spec(_Weights(state))
    ids = TOKENIZER.get_vocab()
    names = {number: name for name, number in ids.items()}
    names[ids[_UNUSED]] = ""
    times = [f"<|{step * 0.02:.2f}|>" for step in range(TIMES)]
    spec.register_vocabulary([names[number] for number in range(FIRST_TIME)] + times)
    spec.config.suppress_ids = []
    # Whisper's list has <|endoftext|> too; without it a window may stay empty where
    # timestamps are not asked for.
    spec.config.suppress_ids_begin = [ids[SPACE]]
    spec.config.lang_ids = [EN]
    spec.config.alignment_heads = [list(pair) for pair in ALIGNED]
    spec.validate()
    spec.optimize(quantization="int8")
    features = {
        "chunk_length": 30,
        "feature_size": MELS,
        "hop_length": HOP,
        "n_fft": 400,
        "sampling_rate": RATE,
    }
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        spec.save(folder)
        TOKENIZER.save(str(Path(folder, "tokenizer.json")), pretty=False)
        text = json.dumps(features)
        Path(folder, "preprocessor_config.json").write_text(text, encoding="utf-8")
        for file in sorted(Path(folder).iterdir()):
            _log.info("%9d %s", file.stat().st_size, file.name)
            file.replace(out / file.name)
