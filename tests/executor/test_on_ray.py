"""Real Ray clusters of this machine: what a study makes of them, and what it survives.

AUTOOPT_TEST_KILLS=20 kills as often in studies of three times as many trials; by default few.
"""

import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import forked
import psutil
import pytest

ray = pytest.importorskip("ray")
from ray._private import services  # noqa: E402
from ray._private.runtime_env.packaging import create_package  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402
from ray.exceptions import ActorDiedError, NodeDiedError, OutOfMemoryError, RayActorError, TaskCancelledError  # noqa: E402

from autoopt.config import compose  # noqa: E402
from autoopt.errors import BadInput  # noqa: E402
from autoopt.executor import on_ray  # noqa: E402
from autoopt.executor.on_ray import OnRay, places_on, problem_of  # noqa: E402
from autoopt.executor.resources import Limits  # noqa: E402
from autoopt.live import import_path  # noqa: E402
from autoopt.plugins.executor import ray as module  # noqa: E402
from autoopt.points import plug  # noqa: E402
from autoopt.records.journal import Journal, stored_records  # noqa: E402
from autoopt.records.stages import SEARCH  # noqa: E402
from autoopt.store import Store  # noqa: E402

AUTOOPT = Path(sys.executable).with_name("autoopt")
KILLS = int(os.environ.get("AUTOOPT_TEST_KILLS", 3))
TRIALS = 3 * max(KILLS, 4)
DATA = ("data=digits", "data.digits.train=200", "model=linear", "augmentation=none")
STUDY = (
    *(*DATA, "strategy=random", "study.stopping=false", "study.epochs=100", "study.confirm=1", "study.seeds=1", "study.ablation=false"),
    *("tracking.enabled=false", "study.time=null", "study.patience=null", f"study.trials={TRIALS}"),
)


@contextmanager
def clustered(nodes, token="secret-of-the-tests"):
    """A cluster of so many nodes with a processor each, beside a head with one that stays."""
    before = {name: os.environ.get(name) for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN")}
    os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {"RAY_AUTH_MODE": "disabled"})
    on_ray.read_authentication()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
    try:
        yield cluster, [add_node(cluster) for _ in range(nodes)]
    finally:
        cluster.shutdown()
        cluster.folder.cleanup()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        on_ray.read_authentication()


def add_node(cluster):
    """A node with files of its own: one that dies deletes those of its working directory."""
    return cluster.add_node(num_cpus=1, temp_dir=tempfile.mkdtemp(dir=cluster.folder.name))


def search(folder, *arguments):
    with (folder / f"{len(list(folder.glob('*.txt')))}.txt").open("w") as log:
        return subprocess.Popen([AUTOOPT, "search", *STUDY, *arguments], cwd=folder, stdout=log, stderr=subprocess.STDOUT)


def said(folder):
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.txt")))


def scores(folder, name):
    """The score of each trial of a study's search; each trial is there once."""
    journal = Journal(folder / "autoopt-runs" / name / "journal.log", name, "maximize")
    records = journal.records(SEARCH)
    journal.close()
    assert len({record.key for record in records}) == len(records) == TRIALS
    return {record.key: (record.state, record.score) for record in records}


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    forked.end(forked.start(["search", *STUDY, "name=local", "executor=local"], folder), folder, seconds=600)
    return scores(folder, "local")


def workers_of(cluster):
    """The processes of a cluster's actors."""
    nodes = [info.process.pid for node in cluster.list_all_nodes() for info in node.all_processes["raylet"]]
    with suppress(psutil.NoSuchProcess):
        return [process for node in nodes for process in psutil.Process(node).children() if "ray::Worker" in " ".join(process.cmdline())]
    return workers_of(cluster)  # one has just ended


def ended(folder):
    """How many trials of the search have ended."""
    path = folder / "autoopt-runs" / "ray" / "journal.log"
    return len(stored_records(path, "ray")[0].get("search", ())) if path.exists() else 0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nodes_and_workers_are_killed_and_nothing_is_lost_or_counts_twice(tmp_path, expected):
    draw, kills = random.Random(0), 0
    with clustered(2) as (cluster, nodes):
        study = search(tmp_path, "name=ray", "executor=ray", f"executor.ray.address={cluster.address}")
        while study.poll() is None:
            time.sleep(draw.uniform(1, 4))
            if kills == KILLS or ended(tmp_path) < 2 * kills + 1 or not (running := workers_of(cluster)):
                continue
            if draw.random() < 0.3 and nodes:
                cluster.remove_node(nodes.pop(draw.randrange(len(nodes))), allow_graceful=False)
                nodes.append(add_node(cluster))
            else:
                draw.choice(running).kill()
            kills += 1
        assert study.returncode == 0, said(tmp_path)
    assert kills == KILLS
    assert scores(tmp_path, "ray") == expected


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_supervisor_that_is_killed_comes_back_and_nothing_runs_twice(tmp_path, expected):
    draw, kills = random.Random(1), 0
    with clustered(1) as (cluster, _):
        while True:
            study = search(tmp_path, "name=ray", "executor=ray", f"executor.ray.address={cluster.address}")
            try:
                study.wait(draw.uniform(8, 25) if kills < KILLS else 600)
                break
            except subprocess.TimeoutExpired:
                assert kills < KILLS, said(tmp_path)
                study.kill()
                study.wait()
                kills += 1
                deadline = time.monotonic() + 30
                while workers_of(cluster) and time.monotonic() < deadline:
                    time.sleep(0.2)
                assert workers_of(cluster) == []  # they end with their supervisor
        assert study.returncode == 0, said(tmp_path)
    assert scores(tmp_path, "ray") == expected


@pytest.mark.slow
def test_what_cannot_be_used_is_told_in_one_line(tmp_path, monkeypatch):
    setup, limits = {"tree": compose([*DATA])}, Limits(workers=1)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    for address, line in (
        ("127.0.0.1:9", "executor.ray.address=127.0.0.1:9: nothing answers at 127.0.0.1:9: Connection refused"),
        ("somewhere", "executor.ray.address=somewhere: expected auto, host:port, or ray://host:port"),
        ("", "executor.ray.address='': expected auto, host:port, or ray://host:port"),
        ("127.0.0.1:99999", "executor.ray.address=127.0.0.1:99999: expected auto, host:port, or ray://host:port"),
        ("http://127.0.0.1:8265", "executor.ray.address=http://127.0.0.1:8265: expected auto, host:port, or ray://host:port"),
        ("auto", "executor.ray.address=auto: nothing answers at "),
    ):
        with pytest.raises(BadInput, match=re.escape(line)) as caught:
            OnRay(setup, Store(tmp_path), limits, address, {})
        assert "\n" not in str(caught.value)
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(on_ray, "PLACE_TIME", 3.0)
    with clustered(0) as (cluster, _):
        executor = OnRay(setup, Store(tmp_path), Limits(workers=1, processors=2), cluster.address, {"spot": 1})
        with pytest.raises(
            BadInput, match=r"no place for a trial after 3 s: it needs 2 CPU, 1 spot; free in the cluster: 1 of 1 CPU, 0 of 0"
        ):
            _ = executor.facts
        monkeypatch.setattr(ray, "__version__", "2.0.0")
        with pytest.raises(
            BadInput,
            match=r"Version mismatch: .* started with: Ray: 2\.\d+\.\d+ .*: Ray: 2\.0\.0.*; install the cluster's versions here$",
        ):
            OnRay(setup, Store(tmp_path), limits, cluster.address, {})


@pytest.mark.slow
def test_what_listens_and_is_no_cluster_that_can_be_read_is_told(tmp_path, monkeypatch, capfd):
    """A cluster with TLS looks like this from a process without it."""
    monkeypatch.setenv("RAY_py_gcs_connect_timeout_s", "1")
    on_ray.read_authentication()  # which reads all of Ray's settings
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        line = rf"executor\.ray\.address={address}: what listens at {address} does not answer as Ray does; if the cluster uses TLS, set "
        with pytest.raises(BadInput, match=line):
            OnRay({"tree": {}}, Store(tmp_path), Limits(), address, {})
    assert capfd.readouterr().err == ""
    monkeypatch.undo()
    on_ray.read_authentication()


@pytest.mark.slow
def test_a_cluster_without_tokens_is_warned_of_and_a_new_node_is_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    setup = {"tree": compose([*DATA])}
    with clustered(0, token=None) as (cluster, _):
        executor = OnRay(setup, Store(tmp_path), Limits(), cluster.address, {})
        try:
            assert f"warning: the Ray cluster at {cluster.address} lets anyone who reaches it run code" in executor.facts["told"][-1]
            assert executor.workers == 1
            add_node(cluster)
            deadline = time.monotonic() + 60
            while executor.workers < 2 and time.monotonic() < deadline:
                list(executor.events(0.5))
            assert executor.workers == 2
        finally:
            executor.close()


@pytest.mark.slow
def test_a_cluster_of_this_process_joins_no_other_and_leaves_the_environment_as_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    executor = OnRay({"tree": compose([*DATA])}, Store(tmp_path), Limits(workers=1), None, {})
    assert os.environ["RAY_AUTH_TOKEN"]
    executor.close()
    assert {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")} == {}
    assert {name: os.environ.get(name) for name in on_ray.QUIET} == {name: before.get(name) for name in on_ray.QUIET}


def test_a_cluster_that_cannot_be_started_here_is_told_in_one_line(tmp_path, monkeypatch):
    def late(*_, **__):
        raise Exception("The current node timed out during startup.\nThis could happen because …")

    before = {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")}
    monkeypatch.setattr(ray, "init", late)
    with pytest.raises(BadInput, match=r"^executor=ray: no cluster can be started here: The current node timed out .* because …$"):
        OnRay({"tree": compose([*DATA])}, Store(tmp_path), Limits(workers=1), None, {})
    assert {name: value for name, value in os.environ.items() if name.startswith("RAY_AUTH")} == before


NOTIFIED = """
import os, signal, sys
from pathlib import Path
from autoopt.config import compose
from autoopt.executor.on_ray import OnRay
from autoopt.executor.resources import Limits
from autoopt.store import Store
taken = []
signal.signal(signal.SIGTERM, lambda *_: taken.append("SIGTERM"))
executor = OnRay({"tree": compose(["data=digits"])}, Store(Path(sys.argv[1])), Limits(workers=1), None, {})
os.kill(os.getpid(), signal.SIGTERM)
executor.close()
print(taken)
"""


@pytest.mark.slow
def test_sigterm_is_still_the_search_s_own(tmp_path):
    """By itself Ray prints a stack, and aborts."""
    done = subprocess.run([sys.executable, "-c", NOTIFIED, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "['SIGTERM']\n", "")


@pytest.mark.parametrize(
    ("resources", "line"),
    [
        ({"spot": 1.5}, "executor.ray.resources: spot=1.5: over 1, Ray takes whole numbers only"),
        ({"CPU": 1}, "executor.ray.resources: CPU=1: one of Ray's own resources; give custom ones (processors are executor.cpus_per_trial"),
    ],
)
def test_a_resource_that_ray_would_refuse_is_told_in_one_line(tmp_path, resources, line):
    with pytest.raises(BadInput, match=re.escape(line)):
        module.ray({"tree": compose([*DATA])}, Store(tmp_path), Limits(workers=1), resources=resources)


@pytest.mark.parametrize("need", [0, -1, "much", True, None, float("inf"), float("nan")])
def test_a_resource_that_is_no_number_over_0_is_told_in_one_line(tmp_path, need):
    line = rf"executor\.ray\.resources: spot={need!r}: expected a number over 0"
    with pytest.raises(BadInput, match=line):
        module.ray({"tree": compose([*DATA])}, Store(tmp_path), Limits(workers=1), resources={"spot": need})


def test_what_may_be_secret_stays_here_and_code_is_carried(tmp_path):
    secret = [".env", ".env.local", ".netrc", ".pgpass", ".pypirc", ".ssh/id_rsa", ".docker/config.json", ".kube/config", "kaggle.json"]
    secret += ["keys/id_ed25519", "server.pem", "client_secret_1.json", ".config/gcloud/access_tokens.db"]
    code = ["tokenizer.py", "secret_santa.py", "data/tokens.npy", "credential_model.py", "conf/.environment"]
    for name in (*secret, *code):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    archive = tmp_path.with_suffix(".zip")
    create_package(str(tmp_path), archive, True, excludes=on_ray.EXCLUDED)
    carried = {name for name in ZipFile(archive).namelist() if not name.endswith("/")}
    assert carried == set(code)


@pytest.mark.skipif(find_spec("grpc") is not None, reason="Ray's client is installed")
def test_a_client_that_is_not_installed_is_named(tmp_path):
    before = dict(os.environ)
    with pytest.raises(BadInput, match=r"^executor\.ray\.address=ray://h:1: ray:// needs Ray's client: pip install 'ray\[client\]'$"):
        OnRay({"tree": {}}, Store(tmp_path), Limits(), "ray://h:1", {})
    assert dict(os.environ) == before


def test_a_machine_without_a_cluster_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(services, "find_gcs_addresses", cache(set))  # of other tests
    monkeypatch.setattr(services, "find_bootstrap_address", lambda folder: None)
    line = r"executor\.ray\.address=auto: no cluster runs on this machine: `ray start --head` starts one, and without an address the "
    with pytest.raises(BadInput, match=line):
        OnRay({"tree": {}}, Store(tmp_path), Limits(), "auto", {})


def test_each_end_of_a_worker_is_a_reason():
    assert problem_of(OutOfMemoryError("x")).reason == "lost" and "memory" in problem_of(OutOfMemoryError("x")).detail
    assert problem_of(TaskCancelledError()).reason == "user"
    assert problem_of(NodeDiedError("its node died")).reason == "lost"
    assert problem_of(ActorDiedError()).reason == "lost"
    assert problem_of(RayActorError(preempted=True)).reason == "preempted"


def test_how_many_trials_a_node_has_room_for():
    assert places_on({"CPU": 8.0, "GPU": 2.0, "memory": 1.0}, {"CPU": 2, "GPU": 0.5}) == 4
    assert places_on({"CPU": 8.0}, {"CPU": 1, "spot": 1}) == 0


def test_an_object_of_this_process_cannot_be_sent(tmp_path):
    tree = compose(["data=digits", f"model={import_path('model', lambda task: None)}", "executor=ray"])
    with pytest.raises(BadInput, match=r"executor=ray cannot be used here: an object of this process cannot be sent to another machine"):
        plug(tree, "executor", setup={"tree": tree}, store=Store(tmp_path), limits=Limits())


def test_the_setup_that_is_sent_has_no_address_of_a_tracking_server(monkeypatch, tmp_path):
    sent = {}
    monkeypatch.setattr(module, "OnRay", lambda setup, *_: sent.update(setup))
    tree = compose(["data=digits", "executor=ray", "tracking.uri=https://me:secret@host"])
    plugged = module.ray({"tree": tree}, Store(tmp_path), Limits())
    assert plugged is None and "secret" not in str(sent) and sent["tree"]["data"] == tree["data"]
