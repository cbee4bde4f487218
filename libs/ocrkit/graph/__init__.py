"""ONNX graphs as torch modules and back: no loss, no optimizer."""
