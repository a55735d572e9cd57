"""The drivers of this distribution; each folder has the same files."""
