"""
Recordings brought to disk over HTTP, whole or not at all.

``values`` says what goes in and what comes out, ``resume`` decides (pure) what an
answer means for what is there, ``partial`` is the unfinished file on disk and
``behind`` the bytes on their way to it, ``transfer`` one download with all its
attempts, ``downloader`` what people use.
"""
