# The steps are the README's; scripts/dockerfile_steps runs the same ones in a clean prefix.
FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN python -m venv /opt/perijove
RUN /opt/perijove/bin/pip install --no-cache-dir -r requirements.lock
RUN /opt/perijove/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
COPY --from=build /opt/perijove /opt/perijove
RUN useradd --create-home --uid 1000 juno
USER juno
WORKDIR /home/juno
ENV PATH=/opt/perijove/bin:$PATH PERIJOVE_STORE=/home/juno/store
ENTRYPOINT ["perijove"]
CMD ["--help"]
