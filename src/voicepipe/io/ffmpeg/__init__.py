"""
Samples by FFmpeg, through PyAV; nothing outside this folder knows either.

FFmpeg opens what it likes: an ``ffconcat`` text or a playlist makes it read the files
that are named there. So it is never given a path, and three walls stand before it: the
content has been sniffed, the demuxer is named, and neither other demuxers nor any
protocol are allowed, so that not one more file can be opened. Each of them is enough.
"""
