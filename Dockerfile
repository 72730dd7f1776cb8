# syntax=docker/dockerfile:1
# CPU:   docker build -t nvs --build-arg TORCH_INDEX=URL .       URL: the index in the pip line that pytorch.org/get-started
#                                                               shows for the platform CPU; without it CUDA comes too
# CUDA:  docker build -t nvs:cuda --build-arg KIND=cuda .
# Run:   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/data" nvs render photos/ --out scene/     (--gpus all for CUDA)
ARG KIND=cpu
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS wheel
WORKDIR /source
RUN pip install --no-cache-dir build==1.6.1
COPY pyproject.toml README.md LICENSE ./
COPY geometry geometry
COPY nvs nvs
COPY eval eval
COPY configs configs
RUN python -m build --wheel --outdir /wheel

FROM python:${PYTHON}-slim-bookworm AS cpu
ENV EXTRAS=sfm,heic

FROM python:${PYTHON}-slim-bookworm AS cuda
ENV EXTRAS=sfm,heic,cuda CUDA_HOME=/usr/local/cuda
# gsplat's kernels are compiled at their first use: pip brings nvcc, Debian the C++ compiler under it.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*

# hadolint ignore=DL3006
FROM ${KIND}
ARG TORCH_INDEX
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /wheel /tmp/wheel
RUN if [ -n "$TORCH_INDEX" ]; then \
      pip install --no-cache-dir -c /tmp/constraints.txt --index-url "$TORCH_INDEX" torch torchvision; \
    fi && \
    pip install --no-cache-dir -c /tmp/constraints.txt "$(echo /tmp/wheel/*.whl)[$EXTRAS]" && \
    rm -r /tmp/wheel /tmp/constraints.txt && \
    if [ -n "$CUDA_HOME" ]; then \
      ln -s "$(python -c 'import nvidia.cu13 as cuda; print(list(cuda.__path__)[0])')" "$CUDA_HOME" && \
      ln -sf libcudart.so.13 "$CUDA_HOME/lib/libcudart.so"; \
    fi
# Caches (compiled kernels, weights that are fetched) go there for any user; mount a volume to keep them.
ENV HOME=/tmp
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["nvs"]
CMD ["--help"]
