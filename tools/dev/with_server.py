"""Run a command with a PostgreSQL server of its own: with_server.py COMMAND [ARGUMENT...]

The command finds it by HOLISTICPOOL_TEST_DSN and, for libpq's own programs, PGHOST, PGPORT, PGUSER and
PGPASSWORD; its exit status is ours. Which PostgreSQL: see tests/servers.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from servers import PostgresServer  # noqa: E402


def main() -> int:
    with PostgresServer() as server:
        connection = {
            "HOLISTICPOOL_TEST_DSN": server.dsn(),
            "PGHOST": str(server.socket_dir),
            "PGPORT": str(server.port),
            "PGUSER": server.superuser,
            "PGPASSWORD": server.password,
        }
        return subprocess.run(sys.argv[1:], env=os.environ | connection).returncode


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main())
