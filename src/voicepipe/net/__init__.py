"""
The guarded HTTP transport: the only way from voicepipe to the network.

``http`` asks and ``answer`` is what comes back: the modules over httpx's ``engine``.
``guard`` decides at each connection where it may lead, by ``policy`` and ``addresses``;
``retries`` says when to try again, ``pace`` how many at a time. A URL comes in as text,
and ``urls`` shows it without what may be secret in it.
"""
