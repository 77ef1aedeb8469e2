"""The cluster's own certificate authority: keys, certificates, join tokens."""
