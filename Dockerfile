# The first search of the README, on the CPU: docker build -t autoopt . && docker run --rm autoopt
# Keep the studies: docker run --rm -v "$PWD:/studies" autoopt search data=digits model=cnn study=quick
FROM python:3.11-slim

WORKDIR /autoopt
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY autoopt autoopt
COPY plugins plugins
COPY conf conf
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu .

WORKDIR /studies
ENTRYPOINT ["autoopt"]
CMD ["search", "data=digits", "data.digits.train=200", "model=cnn", "model.cnn.width=32", "study.epochs=40", "study.trials=100", "study.stopping=false", "study.seeds=5", "seed=1"]
