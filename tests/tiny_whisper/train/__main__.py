"""
Train the tiny Whisper, stage by stage; see README.md.

In `tests/`: `python -m tiny_whisper.train bank`, then `learn`, `settle`, `lengthen`,
`convert`.
"""

from __future__ import annotations

import argparse
import logging
import os
import time
from pathlib import Path

from tiny_whisper.speech import MODEL


_log = logging.getLogger("tiny_whisper")


def main() -> None:
    """Read the command line and run the stages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "stage", choices=["bank", "learn", "settle", "lengthen", "convert"]
    )
    parser.add_argument("--work", type=Path, required=True, help="an outside folder")
    parser.add_argument("--out", type=Path, default=MODEL, help="the converted model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="of learn or settle")
    parser.add_argument("--minutes", type=float, help="instead of steps")
    parser.add_argument("--shards", type=int, nargs="*", help="which to make")
    parser.add_argument("--checkpoint", type=Path, help="to start from, or convert")
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="muon")
    asked = parser.parse_args()
    # Threads that spin while they wait starve others on a busy machine; PyTorch reads
    # this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    asked.work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    if asked.stage == "bank":
        from tiny_whisper.train.bank import SHARDS, make_shard

        for number in asked.shards or range(SHARDS):
            make_shard(asked.work, number, asked.threads)
    elif asked.stage == "convert":
        from tiny_whisper.train.convert import convert

        convert(asked.checkpoint or asked.work / "lengthen.pt", asked.out)
    else:
        from tiny_whisper.train.training import STAGES, train

        train(STAGES[asked.stage], asked)
    _log.info("%s took %.0f s", asked.stage, time.monotonic() - began)


if __name__ == "__main__":
    main()
