# syntax=docker/dockerfile:1
# With a C compiler, unlike the slim one: without it the detector would be interpreted, at two to three times the cost.
FROM python:3.13.7-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /src
COPY requirements/build.txt requirements/run.txt requirements/
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --requirement requirements/build.txt \
 && python -m venv /opt/headworks \
 && /opt/headworks/bin/pip install --require-hashes --requirement requirements/run.txt
COPY . .
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /opt/headworks/bin/pip install --no-deps --no-index /wheel/headworks-*.whl \
 && /opt/headworks/bin/python -I -c 'import broker.policy.injection.kernel'

FROM python:3.13.7-slim-bookworm AS run
RUN groupadd --system --gid 10001 headworks \
 && useradd --system --uid 10001 --gid headworks --no-create-home --home-dir /nonexistent headworks
COPY --from=build /opt/headworks /opt/headworks
ENV PATH=/opt/headworks/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["headworks"]
CMD ["--help"]
