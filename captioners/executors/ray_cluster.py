"""The Ray cluster that actors run in: the package, and the way to a cluster that is there, or a local one."""

import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from captioners.core.errors import UserError

_KNOCK_S = 10.0


def package() -> Any:
    """Return the module `ray`. Raises UserError if it is not installed."""
    try:
        import ray
    except ImportError:
        raise UserError("executor ray needs the package ray: pip install 'captioners[ray]'") from None
    return ray


def connect(ray: Any, address: str, notice: Callable[[str], None]) -> None:
    """Join the cluster at an address (local: start one), and tell its size.

    Raises:
        UserError: there is none.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    try:
        if address == "local":
            ray.init(address="local", **quiet)
        else:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except OSError as error:
        raise UserError(
            f"executor ray: no cluster at '{address}' ({' '.join(str(error).split())[:120]}); start one (ray start "
            "--head), name another address, or take address: local"
        ) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():  # Ray takes them: ours end workers in order
                signal.signal(number, handler)
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    notice(f"Ray: {nodes} node{'' if nodes == 1 else 's'}, {ray.cluster_resources().get('CPU', 0):g} CPUs")


def beside_driver(ray: Any) -> Any:
    """Return the scheduling strategy by which an actor lies on the driver's node, or nowhere."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _knock(address: str) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), _KNOCK_S).close()
