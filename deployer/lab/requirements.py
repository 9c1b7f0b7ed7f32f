"""What a lab needs from the machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deployer.lab import mininet_path

BINARIES = {  # binary -> Debian package
    "mnexec": "mininet",
    "ip": "iproute2",
    "ovsdb-server": "openvswitch-common",
    "ovsdb-tool": "openvswitch-common",
    "ovs-vswitchd": "openvswitch-switch",
    "ovn-controller": "ovn-host",
    "ovn-northd": "ovn-central",
}
VSWITCH_SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
NB_SCHEMA = Path("/usr/share/ovn/ovn-nb.ovsschema")
SB_SCHEMA = Path("/usr/share/ovn/ovn-sb.ovsschema")
_SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin:/usr/local/sbin"


def binary(name: str) -> str:
    """Full path of a program; the bare name if it is not installed (then starting it says so)."""
    return shutil.which(name, path=_SEARCH) or name


def why_no_lab() -> str:
    """Why this machine or user cannot run a lab; "" if it can."""
    missing = {package for name, package in BINARIES.items() if shutil.which(name, path=_SEARCH) is None}
    if not VSWITCH_SCHEMA.exists():
        missing.add("openvswitch-switch")
    if not NB_SCHEMA.exists() or not SB_SCHEMA.exists():
        missing.add("ovn-central")
    if missing:
        return f"not installed: {', '.join(sorted(missing))}; on Debian or Ubuntu: apt-get install {' '.join(sorted(missing))}"
    if not mininet_path.available():
        return "the Python package mininet is not importable: pip install 'ytwin[lab]', or apt-get install mininet"
    if os.geteuid() != 0:
        return "a lab makes network namespaces and needs root"
    return ""


def kernel_datapath() -> bool:
    """Whether the kernel has Open vSwitch's own datapath; without it OVS runs in userspace (datapath_type=netdev).

    A loaded module shows in /sys/module; one that could be loaded has a file below /lib/modules.
    """
    if Path("/sys/module/openvswitch").exists():
        return True
    modules = Path("/lib/modules") / os.uname().release
    return any(modules.glob("kernel/net/openvswitch/openvswitch.ko*"))
