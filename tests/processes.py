"""Processes that tests started, by their numbers."""

from pathlib import Path


def alive(pid: int | str) -> bool:
    """Whether a process is there and has not ended; one that ends while it is looked at has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
