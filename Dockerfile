# Two images from one file: `--target control` (API, relay, projector, dispatcher, migrate, seed; no CrewAI in it)
# and `--target runner`.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY requirements.lock .
RUN pip install --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY domain domain
COPY application application
COPY infrastructure infrastructure
COPY interfaces interfaces
COPY projections projections
COPY seeds seeds
RUN pip install --no-deps --no-build-isolation .

FROM build AS build-runner
COPY requirements-runner.lock .
RUN pip install --require-hashes -r requirements-runner.lock

FROM python:3.13-slim AS base
RUN useradd --uid 10001 --create-home kasal && install -d -o kasal -g kasal /var/lib/kasal
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 KASAL_DATA_DIR=/var/lib/kasal
WORKDIR /var/lib/kasal
USER kasal
ENTRYPOINT ["kasal"]

FROM base AS runner
COPY --from=build-runner /venv /venv
CMD ["runner"]

FROM base AS control
COPY --from=build /venv /venv
CMD ["api"]
