"""The gRPC services: they translate between the protocol and the role and decide nothing."""
