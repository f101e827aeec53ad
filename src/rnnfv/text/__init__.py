"""Raw text to sequences: words, their vectors, corpora; nothing is learnt here."""
