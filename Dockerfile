# One exported model as an HTTP service, without torch.
#
#   striate export runs/photos-1 -o model.onnx --data photos
#   docker build -t photos .
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 -e STRIATE_TOKEN=… photos
#
# The model is a file beside this one; `--build-arg MODEL=other.onnx` names another.
FROM python:3.12-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m venv /app && /app/bin/pip install --no-cache-dir ".[serve]"

FROM python:3.12-slim
COPY --from=build /app /app
ARG MODEL=model.onnx
COPY ${MODEL} /model.onnx
RUN useradd --system --no-create-home striate
USER striate
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s CMD ["/app/bin/python", "-c", \
    "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
# All addresses of the container: what of them is reachable is said by -p. SIGTERM finishes what is in flight.
CMD ["/app/bin/striate", "serve", "/model.onnx", "--host", "0.0.0.0"]
