"""Live text from any engine."""
