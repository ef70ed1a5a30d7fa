"""The cache beside the core: what is asked of it and kept in it, and its file on disk."""
