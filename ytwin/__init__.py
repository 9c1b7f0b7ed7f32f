"""Simulation-first digital twin of Kubernetes Services on OVN/OVS with DPU and SmartNIC offload."""
