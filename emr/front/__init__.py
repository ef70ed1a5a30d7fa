"""The clients' side: from the bytes of a connection to a request, and from its vectors to bytes."""
