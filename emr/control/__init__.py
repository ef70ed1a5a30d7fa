"""The control plane: settings, store, keys, providers, and the views of one snapshot."""
