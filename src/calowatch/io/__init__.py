"""Readers and writers, one file per format; the store; sources as a user names them."""
