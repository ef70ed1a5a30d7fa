"""The API forms that callers speak, one file each."""
