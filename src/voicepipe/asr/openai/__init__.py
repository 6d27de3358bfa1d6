"""
Any service with OpenAI's interface for transcription, over ``net``.

``transcriber`` sends what ``pieces`` cuts, by ``service``, which asks with files that
``encode`` makes and forms that ``multipart`` writes; ``limits`` knows what a model
takes. ``answer`` reads what comes back, ``failures`` what a refusal means, and
``placing`` gives it the recording's times.
"""

from __future__ import annotations
