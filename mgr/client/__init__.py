"""The Python client: finds the active manager, follows hints, retries what is safe."""
