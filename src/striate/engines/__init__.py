"""A Net brought to life: `plain` explains, `torch` trains, `onnx` ships. They agree (tests/test_plain_engine.py)."""
