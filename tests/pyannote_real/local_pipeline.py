"""
Build a folder like that of ``speaker-diarization-community-1``, of random models.

It tells nothing true about who speaks. What it shows is that pyannote's own classes are
loaded, called and understood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from pyannote.audio.core.task import (  # noqa: TID253
    Problem,
    Resolution,
    Specifications,
)
from pyannote.audio.models.embedding import XVectorSincNet  # noqa: TID253
from pyannote.audio.models.segmentation import PyanNet  # noqa: TID253


if TYPE_CHECKING:
    from pathlib import Path

DIMENSION = 32


def build(folder: Path, *, legacy: bool = False) -> Path:
    """
    Write the folder.

    Args:
        folder: Where; it must not exist.
        legacy: Whether the pipeline answers as those of pyannote.audio 3 do.
    """
    torch.manual_seed(1)
    segmentation = PyanNet(
        lstm={"hidden_size": 8, "num_layers": 1, "monolithic": True},
        linear={"hidden_size": 8, "num_layers": 1},
    )
    segmentation.specifications = Specifications(
        problem=Problem.MONO_LABEL_CLASSIFICATION,
        resolution=Resolution.FRAME,
        duration=5.0,
        classes=["one", "two", "three"],
        powerset_max_classes=2,
        permutation_invariant=True,
    )
    segmentation.build()
    with torch.no_grad():
        segmentation.classifier.weight.mul_(40.0)  # or nobody would ever change
    embedding = XVectorSincNet(dimension=DIMENSION)
    embedding.specifications = Specifications(
        problem=Problem.REPRESENTATION,
        resolution=Resolution.CHUNK,
        duration=3.0,
        classes=["one"],
    )
    for name, model in (("segmentation", segmentation), ("embedding", embedding)):
        (folder / name).mkdir(parents=True)
        _save(model, folder / name / "pytorch_model.bin")
    (folder / "plda").mkdir()
    rng = np.random.default_rng(0)
    square, _ = np.linalg.qr(rng.normal(size=(DIMENSION, DIMENSION)))
    nothing = np.zeros(DIMENSION)
    np.savez(
        folder / "plda" / "xvec_transform.npz", mean1=nothing, mean2=nothing, lda=square
    )
    np.savez(
        folder / "plda" / "plda.npz",
        mu=nothing,
        tr=square,
        psi=np.linspace(9.0, 1.0, DIMENSION),
    )
    config = {
        "pipeline": {
            "name": "pyannote.audio.pipelines.SpeakerDiarization",
            "params": {
                "legacy": legacy,
                "clustering": "VBxClustering",
                "segmentation": "$model/segmentation",
                "embedding": "$model/embedding",
                "plda": "$model/plda",
            },
        },
        "params": {
            "segmentation": {"min_duration_off": 0.0},
            "clustering": {"threshold": 0.6, "Fa": 0.07, "Fb": 0.8},
        },
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return folder


def _save(model: Any, path: Path) -> None:
    checkpoint = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": "2.4.0",
        "pyannote.audio": {
            "versions": {"torch": torch.__version__, "pyannote.audio": "4.0.0"},
            "architecture": {
                "module": type(model).__module__,
                "class": type(model).__name__,
            },
            "specifications": model.specifications,
        },
    }
    torch.save(checkpoint, path)
