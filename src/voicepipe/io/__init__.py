"""
Where voicepipe touches disk and network.

``audio`` is the public, asynchronous way in: read, iterate, standardize, write. Below
it everything about files is synchronous and runs in worker threads: ``decode`` opens a
source and gives samples, ``pyav`` is the only module that knows PyAV, ``wav`` reads and
writes WAV, ``samples`` makes arrays fit, ``source`` and ``atomic`` are the files to
read from and to write to, and ``steps`` carries synchronous work to worker threads.
"""
