"""How fast a region answers: URL TOKEN [WORKSPACE]; the region runs, and wrk is installed.

Prints `name<TAB>value<TAB>unit<TAB>note`.  What it makes is in a workspace of its own.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

SECONDS, CONNECTIONS, LISTED = 5, 8, 1000
DISK = {"spec": {"sizeGB": 10, "skuRef": {"resource": "skus/RD500"}}}
PUT = """
wrk.method = "PUT"
wrk.headers["Content-Type"] = "application/json"
local body = '%s'
local at = 0
request = function()
  at = at + 1
  return wrk.format(nil, "%s/" .. thread_id .. "-" .. (at %% 5000), nil, body)
end
"""


def put(url: str, token: str, said: object) -> None:
    """Make one noun."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps(said).encode()
    request = urllib.request.Request(url, body, headers, method="PUT")  # noqa: S310 - of whom we are told
    with urllib.request.urlopen(request) as reply:  # noqa: S310 - as above
        assert reply.status in (200, 201)


def load(name: str, url: str, token: str, script: str = "") -> None:
    """Have wrk ask for some seconds, and print what it counted."""
    wrk = shutil.which("wrk")
    assert wrk, "wrk is not installed"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        more = ["-s", file.name] if script else []
        said = subprocess.run(  # noqa: S603 - of whom we are told
            [
                *(wrk, "-t2", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency"),
                *("-H", f"Authorization: Bearer {token}", *more, url),
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    rate = re.search(r"Requests/sec:\s*([\d.]+)", said)
    tail = re.search(r"99%\s*(\S+)", said)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    assert rate, said
    note = f"{CONNECTIONS} connections, p99 {tail[1] if tail else '?'}"
    note += f", {failed[1]} FAILED" if failed else ""
    print(f"{name}\t{float(rate[1]):.0f}\treq/s\t{note}")


def main() -> None:
    """Measure GET, LIST and PUT."""
    base, token = sys.argv[1].rstrip("/"), sys.argv[2]
    inside = f"tenants/main/workspaces/{sys.argv[3] if len(sys.argv) > 3 else 'bench'}"  # noqa: PLR2004 - URL, TOKEN, WORKSPACE
    put(f"{base}/providers/seca.workspace/v1/{inside}", token, {})
    disks = f"{base}/providers/seca.storage/v1/{inside}/block-storages"
    for at in range(LISTED):
        put(f"{disks}/d{at}", token, DISK)
    load("api.get", f"{disks}/d0", token)
    load("api.list", f"{disks}?limit={LISTED}", token)
    path = disks.removeprefix(base)
    prelude = "local n = 0\nfunction setup(t) t:set('thread_id', n); n = n + 1 end\n"
    load("api.put", disks, token, prelude + PUT % (json.dumps(DISK), path))


if __name__ == "__main__":
    main()
