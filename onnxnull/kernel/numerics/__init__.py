"""Numbers that can be trusted: rounding errors, error-free products, enclosures, exact arithmetic modulo a prime."""
