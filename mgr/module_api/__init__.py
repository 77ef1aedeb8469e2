"""What a module is written against: the public face of the product."""
