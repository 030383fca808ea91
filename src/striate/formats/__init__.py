"""The files that a model is exported to: ONNX, 8-bit ONNX, OpenVINO, a torch program."""
