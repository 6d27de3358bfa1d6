"""
The tokens of the tiny Whisper.

Byte-level BPE, so that any text at all encodes to at least one token: faster-whisper
encodes prompts, and symbols that it suppresses. The order is what CTranslate2 and
faster-whisper read from it: text below `<|endoftext|>`; then `<|startoftranscript|>`,
the language, the tasks ... `<|notimestamps|>`; the timestamps directly after, and last.
"""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from tiny_whisper.speech import WORDS


SPECIALS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)

# Words of two tokens, so that faster-whisper must join parts of words.
SPLIT = {
    "goodbye": ("good", "bye"),
    "pepperoni": ("pepper", "oni"),
    "tomorrow": ("tom", "orrow"),
}

SPACE = "\u0120"  # how byte-level BPE writes a space


def tokenizer() -> Tokenizer:
    """Build it: the 256 bytes, then for each word the chain of its beginnings."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {character: number for number, character in enumerate(alphabet)}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        first, *more = SPLIT.get(word, (word,))
        for part in (SPACE + first, *more):
            for end in range(1, len(part)):
                if part[: end + 1] not in ids:
                    ids[part[: end + 1]] = len(ids)
                    merges.append((part[:end], part[end]))
    built = Tokenizer(models.BPE(vocab=ids, merges=merges))
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    built.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in SPECIALS]
    )
    return built


TOKENIZER = tokenizer()
_TEXTS = TOKENIZER.get_vocab_size() - len(SPECIALS)
EOT, SOT, EN, _, TRANSCRIBE, _, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS = range(
    _TEXTS, _TEXTS + len(SPECIALS)
)
TIMES = 1501
"""Timestamps: 0.00 to 30.00 s in steps of 0.02 s."""
FIRST_TIME = NO_TIMESTAMPS + 1
SIZE = FIRST_TIME + TIMES
TOKENS = [TOKENIZER.encode(f" {word}").ids for word in WORDS]
"""The tokens of each word, in the order of `WORDS`."""

_GRID = 5


def time_token(seconds: float, offset: int = 0) -> int:
    """
    Give the timestamp for a time, on a grid of 0.1 s.

    Args:
        seconds: From the start of the window.
        offset: How many timestamps later the window starts.
    """
    step = round(seconds * 50 / _GRID) * _GRID + offset
    return FIRST_TIME + min(TIMES - 1, step)
