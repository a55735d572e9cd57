"""ONNX frontend."""
