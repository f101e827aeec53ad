"""The pipelines of the paper, and encoding a whole folder: built from the floors below."""
