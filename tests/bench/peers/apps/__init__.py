"""Programs that run as peers, each in the virtual environment of its own libraries."""
