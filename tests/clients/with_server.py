"""Runs a command beside a Weighhouse of its own.

    python3 with_server.py COMMAND [ARGUMENT…]

The command finds the server in WEIGHHOUSE_URL and WEIGHHOUSE_TOKEN.
"""

import os
import subprocess
import sys

from server import Server

server = Server()
environment = os.environ | {"WEIGHHOUSE_URL": server.url, "WEIGHHOUSE_TOKEN": server.token}
try:
    status = subprocess.run(sys.argv[1:], env=environment).returncode
finally:
    server.stop()
sys.exit(status)
