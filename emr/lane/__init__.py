"""The sans-I/O core: who goes together, and when. No clock, no socket, no random of its own."""
