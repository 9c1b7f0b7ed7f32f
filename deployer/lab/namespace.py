"""Entering another process's network namespace, and the few settings there that have no program for them."""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(pid: int) -> Iterator[None]:
    """This thread stands in the network namespace of `pid`; other threads stay where they are.

    A socket belongs for ever to the namespace in which it was made, so one process can hold sockets of many.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        there = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        try:
            _setns(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def _setns(handle: int) -> None:
    if _LIBC.setns(handle, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def transmit_checksum_off(device: str) -> None:
    """`ethtool -K DEVICE tx off`, in the namespace where the caller stands.

    The userspace datapath's conntrack takes a checksum that was left to a card for a wrong one, and drops the packet.
    """
    value = array.array("I", [_ETHTOOL_STXCSUM, 0])
    request = struct.pack("16sP16x", device.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, request)
