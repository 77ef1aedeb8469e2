"""The gRPC surface: translates, decides nothing."""
