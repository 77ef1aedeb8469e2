"""Random inputs, from seeds, for every parser and every gRPC method: ``make fuzz``."""
