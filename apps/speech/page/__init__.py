"""Live speech in a browser that is a party to nothing."""
