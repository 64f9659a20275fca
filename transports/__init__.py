__distribution__ = "mpcnet"
