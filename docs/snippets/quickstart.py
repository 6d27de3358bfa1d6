"""The shortest way to a whole result; run it in the project's folder."""

from __future__ import annotations

import anyio

from voicepipe import (
    ChannelDiarizer,
    ExtractiveAnalyzer,
    Pipeline,
    PocketSphinxTranscriber,
)


async def main() -> None:
    """Run the sample call and print some of what is known then."""
    engine, analyzer = PocketSphinxTranscriber(), ExtractiveAnalyzer()
    pipeline = Pipeline(engine, analyzer, diarizer=ChannelDiarizer())
    call = await pipeline.run("examples/data/sample_call.flac")
    for segment in call.transcript.segments[:4]:
        print(f"{segment.start:4.1f} {segment.speaker}: {segment.text}")
    for speaker in call.metrics.speakers:
        print(f"{speaker.speaker} talks {speaker.talk_ratio:.0%} of the time")
    if call.analysis is not None:
        print("type:", call.analysis.conversation_type)
        print("key point:", call.analysis.key_points[0].text)


anyio.run(main)
