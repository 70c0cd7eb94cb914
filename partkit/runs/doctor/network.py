"""The network within this host, which ranks find each other on, and what launchers left in the environment."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from partkit.data.examination import Check
from partkit.ranks.launch import left_over
from partkit.runs.doctor.looked_at import LookedAt, Writer

_INTERFACE = "GLOO_SOCKET_IFNAME"
_WAIT_S = 5.0

_WRITE = Writer("network")


def network(seen: LookedAt) -> Iterator[Check]:
    """Look at the interface, try a port, read the variables."""
    for check in (_interface(), loopback()):
        seen.is_broken |= check.status == "broken"
        yield check
    yield from _launch()


def _interface() -> Check:
    wanted = os.environ.get(_INTERFACE, "lo")
    present = [name for _, name in socket.if_nameindex()]
    if wanted in present:
        return _WRITE.ok("interface", f"{wanted}, of {', '.join(present)}")
    return _WRITE.broken(
        "interface",
        f"ranks talk over the interface {wanted}, and this host has {', '.join(present) or 'none'}",
        f"set {_INTERFACE} and NCCL_SOCKET_IFNAME to one of them" if present else "bring up the loopback interface",
    )


def loopback() -> Check:
    """Listen on a port of 127.0.0.1 and send a byte there, as gloo does between ranks."""
    name = "port on 127.0.0.1"
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), timeout=_WAIT_S) as one:
                server.settimeout(_WAIT_S)
                other, _ = server.accept()
                with other:
                    one.sendall(b"x")
                    other.settimeout(_WAIT_S)
                    came = other.recv(1)
    except OSError as error:
        return _WRITE.broken(
            name,
            f"no connection within this host: {error.strerror or error}",
            "check the loopback interface, firewall rules and net.ipv4.ip_local_port_range",
        )
    return _WRITE.ok(name, "connects") if came == b"x" else _WRITE.broken(name, "a byte sent there came back changed")


def _launch() -> Iterator[Check]:
    text = left_over()
    if text is not None:
        yield _WRITE.warning("launcher's variables", text, "unset them")
    port = os.environ.get("MASTER_PORT")
    if port is None:
        return
    if not port.isdecimal() or not 0 < int(port) < 65536:
        yield _WRITE.broken("MASTER_PORT", f"MASTER_PORT={port} is no port", "unset it, or give 1024 to 65535")
        return
    yield master_port(int(port))


def master_port(port: int) -> Check:
    """A launch's first rank listens there; another program may already."""
    try:
        with socket.create_server(("", port)):
            return _WRITE.ok("MASTER_PORT", f"{port} is free")
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return _WRITE.warning(
                "MASTER_PORT",
                f"something listens on port {port} already, and a launch with it cannot",
                "choose another",
            )
        return _WRITE.warning("MASTER_PORT", f"port {port} cannot be listened on: {error.strerror}", "choose another")
