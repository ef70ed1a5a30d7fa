"""The embedding model inside the process, so that everything works with no key and no network."""
