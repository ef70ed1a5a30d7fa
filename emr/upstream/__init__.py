"""The providers' side: one call, from a batch to a verdict and its vectors."""
