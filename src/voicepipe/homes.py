"""Where each public name lives."""

from __future__ import annotations


HOMES = {
    "analysis.conversation": "CONVERSATION_TYPES",
    "analysis.extractive": "ExtractiveAnalyzer",
    "analysis.gemini.analyzer": "GeminiAnalyzer",
    "analysis.gemini.options": "GeminiOptions",
    "analysis.metrics": "talk_metrics",
    "analysis.redaction.options": "RedactionKind RedactionOptions",
    "analysis.redaction.sound": "redact_audio",
    "analysis.redaction.spans": "RedactedSpan redacted_spans",
    "analysis.redaction.text": "redact_text",
    "analysis.redaction.transcript": "Redacted redact_transcript",
    "asr.diarize": "ChannelDiarizer assign_speakers",
    "asr.live.session": "LiveSession",
    "asr.live.transcriber": "LiveTranscriber",
    "asr.openai.options": "OpenAIOptions",
    "asr.openai.transcriber": "OpenAITranscriber",
    "asr.pyannote": "PyannoteDiarizer PyannoteOptions",
    "asr.silero.spans": "SileroOptions",
    "asr.silero.vad": "SileroVad",
    "asr.speakers.call": "CallDiarizer",
    "asr.speakers.diarizer": "SpeakerDiarizer",
    "asr.speakers.options": "SpeakerOptions",
    "asr.sphinx": "PocketSphinxModel PocketSphinxTranscriber",
    "asr.voice_activity": "voice_activity",
    "asr.whisper.options": "WhisperOptions WhisperSetup",
    "asr.whisper.transcriber": "WhisperTranscriber",
    "errors": """
        AnalysisError AudioError BadResponseError BatchError BlockedUrlError CallError
        CallNotFoundError CaptureError ChildCrashedError ChunkTooLargeError
        ConnectionFailedError DamagedAudioError DecoderCrashedError DecoderTimeoutError
        DiarizationError DiskFullError EmptyAudioError FetchError FetchTimeoutError
        HttpStatusError InvalidIdError InvalidUrlError JobError JobNotFoundError
        JobStateError LeaseLostError MissingExtraError ModelUnavailableError
        NoRecordingError NotAudioError OffsetGapError SessionBusyError
        SessionClosedError SessionFullError SessionNotFoundError SettingsError
        StoreError StreamError StreamLostError StreamRefusedError TooLargeError
        TooManyConnectionsError TooManySessionsError TranscriptionError
        TruncatedAudioError UnsupportedAudioError VoicepipeError
    """,
    "io.batch.bar": "batch_progress_bar",
    "io.batch.run": "run_batch",
    "io.batch.values": "BatchOptions BatchProgress BatchSummary ListFormat",
    "io.capture.connection": "CaptureConnection",
    "io.capture.decoders": "IsolatedDecoders",
    "io.capture.store": "CaptureStore",
    "io.capture.values": """
        CaptureOptions CaptureStatus ChunkAck Durability EndReason SessionInfo
        SessionSpec
    """,
    "io.download.bar": "download_progress_bar",
    "io.download.downloader": "Downloader",
    "io.download.values": """
        Download DownloadOptions DownloadOutcome DownloadProgress DownloadRequest
    """,
    "io.fetch": "fetch_wav fetch_wavs",
    "io.many": "Standardized standardize_many",
    "io.options": "DecodeOptions RawEncoding RawFormat",
    "io.read": "iter_audio read_audio",
    "io.recordings": "FetchOutcome FetchedWav Recording",
    "io.source": "AudioSource",
    "io.streaming.client": "StreamClient",
    "io.streaming.values": "StreamAck StreamOptions StreamSummary",
    "io.telephony": "CallInfo TelephonyClient call_info_from_json",
    "io.wav.recover": "Recovery recover",
    "io.wav.writer": "WavWriter",
    "io.write": "standardize write_wav",
    "jobs.options": "WorkerOptions",
    "jobs.run": "JobRun",
    "jobs.store": "SqlJobStore",
    "jobs.worker": "Worker",
    "pipeline": "Pipeline PipelineOptions",
    "proc.limits": "ChildLimits",
    "progress": "progress_bars",
    "protocols": """
        Analyzer CachingAnalyzer Diarizer JobStore ResultCache Stage
        StreamingTranscriber Transcriber
    """,
    "stream.assembler.assembler": "ChunkAssembler",
    "stream.assembler.detect": "StreamFormat",
    "stream.assembler.report": "StreamReport",
    "stream.channels": "DualMono",
    "stream.g711": "G711Decoder G711Encoder G711Law",
    "stream.live.activity": "EnergyActivity",
    "stream.live.options": "LiveOptions",
    "stream.packets.decoder": "CodecName Decoded DecoderFactory PacketDecoder",
    "stream.resample": "Resampler",
    "stream.vad": "EnergyVad SpeechSpan VadOptions",
    "stream.windows": "SilenceCutter",
    "types": """
        Analysis AnalysisReport Audio CleanLine Conversation DecodeReport Hypothesis
        Interruption Job JobEdit JobField JobProgress JobStatus NonTalk Point Progress
        Samples Segment SpeakerMetrics StageName TalkMetrics Transcript
        TranscriptionReport Turn WavFile Word
    """,
    "types.transcript": "turns_to_rttm",
}
"""The names in each module, which is named without the package."""
