"""ONNX frontend: models become ``func.func @main`` in ``linalg`` on tensors, weights stay in their files."""
