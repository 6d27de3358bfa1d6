"""
The main job, end to end and offline: transcript with speakers, metrics, analysis, job.

    python examples/quickstart.py                 the sample call beside this file
    python examples/quickstart.py CALL.mp3        a recording of yours
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import anyio

from voicepipe import (
    Analysis,
    ChannelDiarizer,
    Conversation,
    ExtractiveAnalyzer,
    Pipeline,
    PocketSphinxTranscriber,
    SqlJobStore,
    TalkMetrics,
    VoicepipeError,
    WavFile,
    progress_bars,
    standardize,
)


SAMPLE = Path(__file__).parent / "data" / "sample_call.mp3"
SAMPLE_LABELS = {"Speaker00": "agent", "Speaker01": "customer"}


async def main(path: Path, out: Path) -> None:
    """Run the main job on one recording and print what came of it."""
    database = out / "jobs.db"
    async with SqlJobStore(f"sqlite:///{database}") as store:
        pipeline = Pipeline(
            PocketSphinxTranscriber(),
            ExtractiveAnalyzer(),
            store,
            diarizer=ChannelDiarizer(),
        )
        with progress_bars() as progress:
            call = await pipeline.run(path, progress=progress)

    begin = time.perf_counter()
    wavs = await write_wavs(call, path, out)
    took = time.perf_counter() - begin

    labels = SAMPLE_LABELS if path == SAMPLE else {}
    heading(f"{path.name}, {call.duration:.1f} s, {call.transcript.model}")
    print(call.transcript.to_txt(labels=labels, times=True), end="")
    print_metrics(call.metrics, labels)
    if call.analysis is not None:
        print_analysis(call.analysis)
    heading("Written")
    for wav in wavs:
        print(
            f"{wav.path}  {wav.rate} Hz, {wav.channels} channel, {wav.duration:.1f} s"
        )
    if call.job is not None:
        print(f"{database}  job {call.job.id}: {call.job.status}")
    heading("Seconds for each stage (stages overlap)")
    for stage, seconds in [*call.elapsed.items(), ("standardize", took)]:
        print(f"{stage:<12} {seconds:7.2f}")


async def write_wavs(call: Conversation, path: Path, out: Path) -> list[WavFile]:
    """Write the mix, and each channel where there are several: 16 kHz mono."""
    wavs = [await standardize(path, out / f"{path.stem}.wav")]
    channels = {turn.channel for turn in call.turns if turn.channel is not None}
    for channel in sorted(channels):
        target = out / f"{path.stem}_Speaker{channel:02d}.wav"
        wavs.append(await standardize(path, target, channel=channel))
    return wavs


def print_metrics(metrics: TalkMetrics, labels: dict[str, str]) -> None:
    """Print how the conversation was led."""
    heading("Talk metrics")
    for speaker in metrics.speakers:
        name = labels.get(speaker.speaker, speaker.speaker)
        speed = speaker.words_per_minute
        latency = speaker.response_latency
        print(
            f"{name:<12} talks {speaker.talk_time:5.1f} s ({speaker.talk_ratio:.0%}), "
            f"{speaker.turns} turns, longest {speaker.longest_turn:.1f} s, "
            f"{'-' if speed is None else f'{speed:.0f}'} words per minute, "
            f"answers after {'-' if latency is None else f'{latency:.2f}'} s"
        )
    print(
        f"nobody talks for {metrics.non_talk_time:.1f} s, both for "
        f"{metrics.overlap_time:.1f} s, {len(metrics.interruptions)} interruptions"
    )


def print_analysis(analysis: Analysis) -> None:
    """Print what the conversation means, and the segments that say so."""
    heading(f"Analysis ({analysis.model})")
    print(f"type      {analysis.conversation_type}")
    print(f"language  {analysis.language or 'unknown'}")
    for title, points in (
        ("summary", analysis.summary),
        ("key points", analysis.key_points),
    ):
        print(title)
        for point in points:
            cited = ", ".join(map(str, point.segment_ids))
            print(f"  - {point.text}  [{cited}]")


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def run() -> int:
    """Read the command line, run, and turn errors into one line."""
    parser = argparse.ArgumentParser(description="Run the main job on one recording.")
    parser.add_argument("path", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--out", type=Path, default=Path("voicepipe-out"))
    arguments = parser.parse_args()
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        anyio.run(main, arguments.path, arguments.out)
    except (VoicepipeError, OSError) as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(run())
