"""No test, and nothing that a test starts, reaches another machine."""

import socket
import subprocess
import sys

import pytest

ELSEWHERE = "192.0.2.1"  # for documentation only (RFC 5737)
LINE = "with socket.socket(type=socket.SOCK_DGRAM) as line:"
REACHES = {
    "connect": f"{LINE} line.connect(('{ELSEWHERE}', 9))",
    "connect_ex": f"{LINE} line.connect_ex(('{ELSEWHERE}', 9))",
    "create_connection": f"socket.create_connection(('{ELSEWHERE}', 9))",
    "sendto": f"{LINE} line.sendto(b'x', ('{ELSEWHERE}', 9))",
    "a name": "socket.getaddrinfo('example.org', 80)",
}


@pytest.mark.parametrize("reach", REACHES.values(), ids=REACHES)
def test_this_process_reaches_no_other_machine(reach):
    with pytest.raises(OSError, match="only loopback is allowed"):
        exec(f"import socket\n{reach}")


def test_what_is_started_reaches_no_other_machine_either():
    tries = "".join(
        f"try:\n    {reach}\nexcept OSError as error:\n    print('only loopback' in str(error))\n"
        for reach in REACHES.values()
    )
    told = subprocess.run(
        [sys.executable, "-c", f"import socket\n{tries}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == ["True"] * len(REACHES)


def test_loopback_is_open():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            socket.create_connection((host, port)).close()
