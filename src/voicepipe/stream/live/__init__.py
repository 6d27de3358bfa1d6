"""The commit policy of live text: when to decode, and which words are certain."""
