"""The fault matrix of docs/explanation/failover.md: what can be broken, and what must hold."""

import os

# Processes are started while clients are open, by fork and exec: gRPC has nothing to prepare.
# It reads this when it is imported, so it stands before all imports of what stands here.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
