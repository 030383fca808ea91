"""An exported model as an HTTP service on FastAPI and uvicorn, without torch: `striate serve model.onnx`."""
