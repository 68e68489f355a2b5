"""A tile server that accepts every connection and never answers."""

from __future__ import annotations

import socket
import threading


class UnresponsiveServer:
    """Reads what it is asked, and does not answer.

    Attributes:
        url: template of its tiles.
        requests: first line of each request.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/{{z}}/{{x}}/{{y}}.png"
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hangs up on whoever still waits."""
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread; close alone does not
        self._listener.close()
        self._thread.join()
        for connection in self._connections:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self.requests.append(connection.recv(4096).decode().partition("\r\n")[0])
