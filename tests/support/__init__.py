"""What tests share: clocks, stores that lose answers, an etcd, a proxy that breaks connections."""
