"""Pages whose browser is a party to nothing: it splits what it has, and adds up what comes back."""

__distribution__ = "mpcnet"
