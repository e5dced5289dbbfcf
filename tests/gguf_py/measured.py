"""Running a program, with its time and memory."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass
class Cost:
    """What a run took: seconds, of the clock and of all cores together, and peak memory in MB, without mapped files and
    with them."""

    seconds: float
    cpu: float
    own: float
    resident: float

    def __str__(self):
        return f"{self.seconds:.2f} s, peak memory {self.own:.0f} MB ({self.resident:.0f} MB with mapped files)"


def run_measured(command, threads=None):
    """Runs a program, which must succeed: its cost, and what it printed."""
    command = [str(part) for part in command]
    environment = {**os.environ, **({"RAYON_NUM_THREADS": str(threads)} if threads else {})}
    start, own, resident = time.monotonic(), 0, 0
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )
    os.set_blocking(process.stdout.fileno(), False)
    output = b""
    while True:
        # Not getrusage's memory: a child's peak there starts at the memory that its parent, this program, had at the fork.
        own, resident = max(own, memory(process.pid, "RssAnon")), max(resident, memory(process.pid, "VmHWM"))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        output += process.stdout.read() or b""
        if pid:
            break
        time.sleep(0.002)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    text = output.decode(errors="replace")
    if process.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {process.returncode}\n{text}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, own, resident), text


def memory(pid, field):
    """A line of /proc/PID/status, in MB; 0 when the process has just ended."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) / 1e3 for line in status if line.startswith(field + ":")), 0)
    except OSError:
        return 0
