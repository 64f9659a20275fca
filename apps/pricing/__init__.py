"""The price of an option on several stocks, whose terms and figures different parties hide."""
