"""
The pure middle: bytes and samples in, values out.

Nothing here waits, reads a clock, opens a file or knows a socket. Each stage is two
verbs, ``push`` and ``flush``, and keeps one law: chunk invariance, the same output bit
for bit however its input is cut.
"""
