"""The child process: modules, gRPC, HTTP."""
