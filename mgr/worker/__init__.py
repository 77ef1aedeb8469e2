"""The worker, the child process of a manager: it runs modules and serves gRPC and HTTP."""
