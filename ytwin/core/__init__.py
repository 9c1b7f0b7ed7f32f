"""The ground floor: errors, the one diff, printable tables. Knows nothing about OVN or Kubernetes."""
