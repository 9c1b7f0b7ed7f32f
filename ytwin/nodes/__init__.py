"""The ycloud-cni: what each node must be told, as a value. Pure."""
