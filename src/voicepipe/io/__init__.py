"""
Where voicepipe touches disk and network.

``read``, ``write`` and ``many`` are the public, asynchronous ways in. Below them
everything about files is synchronous and runs in worker threads, to which ``steps``
carries it: ``convert`` gives a recording at the rate and with the channels wanted,
``isolated`` has a helper process do that (``isolated_child`` is the helper's side), and
``decode`` opens a source and gives its samples, as ``options`` says.

``wav`` reads, writes and repairs WAV; ``ffmpeg`` decodes all else and is the only place
that knows PyAV. ``source`` and ``atomic`` are the files to read from and to write to,
``samples`` makes arrays fit, ``ahead`` runs an iterator in a thread of its own.
"""
