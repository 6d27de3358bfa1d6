"""
WAV files: their header, samples out of them, files written and files saved.

Sources: RIFF and WAVE (Multimedia Programming Interface and Data Specifications 1.0,
IBM and Microsoft, 1991), WAVEFORMATEXTENSIBLE (Microsoft, 2001), RF64 (EBU Tech 3306)
and BW64 (ITU-R BS.2088), which give sizes over 4 GiB in a chunk of their own, ``ds64``.

Uncompressed samples are read here and not by libsndfile, which gives no samples at all
for headers that a killed recorder leaves, loses a fifth of a 5 GiB file, does not know
BW64, and prints the disk's errors instead of raising them.
"""
