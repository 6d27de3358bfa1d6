"""
What may happen to live sessions, and in which order.

``registry`` decides: who may begin, join and write, what of a chunk counts, what is
over. ``session`` has what it decides about.
"""
