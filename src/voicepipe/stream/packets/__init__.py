"""Compressed audio that comes in pieces: frames found, decoded, and gone on with."""
