"""What organizations run: each app is small and stands on the public interface of mpcnet."""

__distribution__ = "mpcnet"
