"""A TCP proxy before PostgreSQL that loses what a test tells it to lose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import quote

from psycopg.conninfo import conninfo_to_dict

Kind = Literal["request", "answer"]


class UnreliableNetwork:
    """Carries bytes both ways until it is told otherwise. A fault strikes once, then all is carried again."""

    def __init__(self, server_url: str) -> None:
        server = conninfo_to_dict(server_url)
        self._host = str(server.get("host") or "localhost")
        self._port = str(server.get("port") or 5432)
        self._login = (
            f"{quote(str(server.get('user') or 'postgres'))}:{quote(str(server.get('password') or ''))}"
        )
        self._database = server["dbname"]
        self._clients: set[Client] = set()
        self.next_fault: Kind | None = None
        self.is_down = False
        self.is_black_hole = False

    def url(self, port: int) -> str:
        """The server's URL through a proxy on this port."""
        return f"postgresql://{self._login}@127.0.0.1:{port}/{self._database}?sslmode=disable"

    def lose_next(self, kind: Kind) -> None:
        """Cut a client off instead of carrying its next request, or instead of the answer to it."""
        for client in self._clients:
            client.has_asked = False
        self.next_fault = kind

    def cut_clients(self) -> None:
        """Cut every client off. The server's side stays open, so that the server does not notice."""
        for client in self._clients:
            client.hang_up()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_down:
            writer.transport.abort()
            return
        client = Client(self, reader, writer)
        self._clients.add(client)
        if self._host.startswith("/"):
            await client.serve(*await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}"))
        else:
            await client.serve(*await asyncio.open_connection(self._host, int(self._port)))


class Client:
    """One connection through the proxy."""

    def __init__(
        self, network: UnreliableNetwork, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._network = network
        self._reader = reader
        self._writer = writer
        self.has_asked = False

    def hang_up(self) -> None:
        self._writer.transport.abort()

    async def serve(self, server_reader: asyncio.StreamReader, server_writer: asyncio.StreamWriter) -> None:
        requests = asyncio.create_task(self._carry("request", self._reader, server_writer))
        await self._carry("answer", server_reader, self._writer)
        self.hang_up()
        await requests
        server_writer.transport.abort()

    async def _carry(self, kind: Kind, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                if self._is_struck(kind):
                    self.hang_up()
                    return
                if not self._network.is_black_hole:
                    sink.write(data)
                    await sink.drain()

    def _is_struck(self, kind: Kind) -> bool:
        self.has_asked = self.has_asked or kind == "request"
        if self._network.next_fault != kind or not self.has_asked:
            return False
        self._network.next_fault = None
        return True


@asynccontextmanager
async def unreliable_network(server_url: str) -> AsyncIterator[tuple[UnreliableNetwork, str]]:
    """A proxy before the server, and the URL that goes through it."""
    network = UnreliableNetwork(server_url)
    server = await asyncio.start_server(network.accept, "127.0.0.1", 0)
    try:
        yield network, network.url(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        network.cut_clients()
