"""Trains the tiny Whisper; see README.md. PyTorch is needed here only."""
