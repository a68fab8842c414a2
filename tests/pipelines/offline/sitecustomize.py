"""On the path of a Python process: no connection leaves this machine, and every attempt is noted.

Python imports a module of this name at start, in child processes too. An audit hook sees what the
socket module does for any library and cannot be taken off again.
"""

import ipaddress
import os
import socket
import sys
from typing import Any

LOG = os.environ["OFFLINE_LOG"]
_HERE = {"", "localhost", socket.gethostname()}


def is_here(host: Any) -> bool:
    """Whether a host, as the socket module is given it, is this machine."""
    name = host.decode() if isinstance(host, bytes) else host
    if name is None or name in _HERE:
        return True
    try:
        return ipaddress.ip_address(str(name)).is_loopback
    except ValueError:
        return False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse names and addresses that lie elsewhere."""
    match event:
        case "socket.connect" | "socket.sendto" if isinstance(arguments[1], tuple):
            host = arguments[1][0]
        case "socket.getaddrinfo" | "socket.gethostbyname":
            host = arguments[0]
        case _:
            return
    if not is_here(host):
        with open(LOG, "a") as log:  # noqa: PTH123 - pathlib may not be importable this early
            log.write(f"{event} {host} by {sys.argv}\n")
        raise ConnectionRefusedError(f"offline test: {event} {host}")


sys.addaudithook(watch)
