"""
Engines that hear: transcribers, diarizers, and what they share.

Engines take ``Audio`` and never open a file. Each foreign library is known to one
module only.
"""
