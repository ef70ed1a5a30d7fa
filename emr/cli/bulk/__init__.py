"""What `emr embed` is made of: lines in, batches in flight, results in order."""
