"""
What the reference servers share: settings, access, limits, logs, and the way down.

``protect`` puts the protections round an ASGI app, ``serve`` runs it. Needs the extra
``servers``; nothing else in the library does.
"""

from __future__ import annotations
