# A FIX 4.4 client of the package aiopyfix that logs on to the port given; its own start() needs a Python before 3.10.
import asyncio
import sys

from aiopyfix import FIX44
from aiopyfix.client_connection import FIXClientConnectionHandler
from aiopyfix.engine import FIXEngine


async def log_on():
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    FIXClientConnectionHandler(FIXEngine(), FIX44, "BROKER", "ALICE", reader, writer)
    await asyncio.sleep(9)


asyncio.run(log_on())
