"""Whether this process runs in a container, whose files go with it and are seen by no other container."""

from __future__ import annotations

import os
from pathlib import Path

# Set by Kubernetes; made by Docker; made by Podman and Buildah.
CLUSTER_VARIABLE = "KUBERNETES_SERVICE_HOST"
MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def in_container() -> bool:
    """Return whether Kubernetes, Docker or Podman runs this process."""
    return bool(os.environ.get(CLUSTER_VARIABLE)) or any(mark.exists() for mark in MARKS)
