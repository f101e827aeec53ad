"""Encoders: scikit-learn transformers from ragged sequences to fixed-length vectors."""
