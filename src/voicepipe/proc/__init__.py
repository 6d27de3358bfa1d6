"""
Helper processes: Python code that must not run in the caller's process.

Either because it would hold the interpreter's lock for too long (pocketsphinx), or
because it must not be trusted (decoders on hostile input).
"""
