"""Models in the ONNX format, as ordinary modules; needs the package `onnx`, an optional extra."""

from mpcnet.onnx.importer import OnnxError, OnnxModel, from_onnx, save_graph

__all__ = ["OnnxError", "OnnxModel", "from_onnx", "save_graph"]
