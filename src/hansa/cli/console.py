"""A guest's serial port on this terminal, byte for byte, until Ctrl-a q."""

import os
import select
import socket
import sys
import termios
import tty
from pathlib import Path
from typing import Final

_ESCAPE: Final = 0x01
"""Ctrl-a: twice, it sends itself.  Not Ctrl-], which most European keyboards lack."""
_CHUNK: Final = 4096


def attach(path: Path) -> None:
    """Pass bytes both ways until the guest ends, or its person leaves."""
    with socket.socket(socket.AF_UNIX) as guest:
        guest.connect(str(path))
        fd = sys.stdin.fileno()
        if not os.isatty(fd):
            _pass(guest, fd)
            return
        before = termios.tcgetattr(fd)
        tty.setraw(fd)
        try:
            _pass(guest, fd)
        finally:
            termios.tcsetattr(fd, termios.TCSADRAIN, before)
            print(file=sys.stderr)


def _pass(guest: socket.socket, fd: int) -> None:
    is_escaped = False
    while True:
        ready, _, _ = select.select([guest.fileno(), fd], [], [])
        if guest.fileno() in ready:
            data = guest.recv(_CHUNK)
            if not data:
                return
            os.write(sys.stdout.fileno(), data)
        if fd in ready:
            typed = os.read(fd, _CHUNK)
            sent, is_escaped, is_left = keys(typed, is_escaped=is_escaped)
            guest.sendall(sent)
            if is_left or not typed:
                return


def keys(typed: bytes, *, is_escaped: bool) -> tuple[bytes, bool, bool]:
    """Return what goes to the guest, whether the next key is a command, and whether to leave."""
    sent = bytearray()
    for byte in typed:
        if is_escaped:
            if byte in b"qQ":
                return bytes(sent), False, True
            if byte != _ESCAPE:
                sent.append(_ESCAPE)
            sent.append(byte)
            is_escaped = False
        elif byte == _ESCAPE:
            is_escaped = True
        else:
            sent.append(byte)
    return bytes(sent), is_escaped, False
