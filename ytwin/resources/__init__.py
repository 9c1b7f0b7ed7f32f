"""Kubernetes-shaped input: frozen kinds, a strict codec whose errors name file, line and field, and the Snapshot."""
