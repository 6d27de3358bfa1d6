"""
Live audio, recorded so that no acknowledged byte is lost.

``store`` is the way in, ``connection`` and ``values`` what it gives; ``recorder`` is
its running part, and ``catalogue`` tells about sessions. ``intake`` takes a chunk (a
``work``): it reads it, and has ``commit`` write it to the ``journal`` (made of
``records``) with those of other sessions; ``behind`` brings it to its file (``wavs``),
and ``budget`` bounds what is on the way. ``keeper`` ends sessions and keeps the journal
short, ``index`` (laid out by ``schema``) has those that are not active. ``recovery``
finds sessions again after a crash, by ``replay``; ``states`` is what there is to find.
``decoders`` decodes compressed sound in helper processes, ``live`` is a session with
all that it takes, ``disk`` holds the folder, ``turns`` and ``apart`` order the work.
"""
