"""
What a conversation means and how it was led.

All but ``gemini`` works without a language model and without a download.

``extractive`` gives summary, key points, type and language of a transcript. Below it,
each module answers one question: ``words`` (what counts as a word), ``lexicon`` (which
words have no topic), ``language`` (which language is it), ``conversation`` (what kind
of call is it), ``sentences`` (what can be quoted), ``traits`` (what is in a sentence)
and ``ranking`` (which sentences stand for the others). ``metrics`` measures who talks
when. ``gemini`` asks a language model.
"""
