#!/usr/bin/env python3
"""Tests the example client against a real coordinator, beside a Rust client: test_round.py [NIBBLE_SERVER [NIBBLE_CLIENT]].

The programs may also come from the environment variables of those names, and are else looked for in target/debug. What
requirements.txt lists is installed into a virtual environment of its own, under the user's cache directory; where that cannot
be done, nothing is tested and the exit code is 0. Not here: tests of the coordinator.
"""

import fcntl
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
INSIDE = "NIBBLE_PYTHON_TEST_INSIDE"
SECONDS = 180


def programs():
    """The paths of nibble-server and nibble-client."""
    given = sys.argv[1:] + [None, None]
    server = Path(given[0] or os.environ.get("NIBBLE_SERVER") or ROOT / "target/debug/nibble-server").resolve()
    client = Path(given[1] or os.environ.get("NIBBLE_CLIENT") or server.with_name("nibble-client")).resolve()
    for program in (server, client):
        if not program.is_file():
            sys.exit(f"error: there is no {program}: cargo build -p nibble-server -p nibble-client makes it")
    return server, client


def test_payloads_agree_bit_for_bit_with_the_vectors():
    import numpy as np
    from payload import Malformed, Scheme, decode, encode

    directory = ROOT / "codec/tests/vectors"
    cases, data = json.loads((directory / "vectors.json").read_text()), (directory / "vectors.bin").read_bytes()

    def part(case, name):
        at, length = case[name]
        return data[at : at + length]

    def refused(call):
        try:
            call()
        except Malformed:
            return True
        return False

    def foreign(case):  # what this client neither writes nor reads
        return case["scheme"] in ("fp16", "bf16") or case["scheme"].startswith("sign")

    encoded = 0
    for case in cases["encode"]:
        payload = part(case, "payload")
        if foreign(case):
            continue
        encoded += 1
        vector = np.frombuffer(part(case, "input"), "<f4")
        made = encode(vector, case["layout"], Scheme.parse(case["scheme"]), case["round"], case["seed"])
        assert made == payload, case["name"]
        assert decode(made, case["layout"], case["round"]).tobytes() == part(case, "decoded"), case["name"]
    unread = (5, 6, 7)  # auto, plan and sign: kinds that this client does not read, as binary16
    for case in cases["decode"]:
        if part(case, "payload")[5] not in unread and not case["name"].startswith("binary16"):
            assert decode(part(case, "payload"), case["layout"]).tobytes() == part(case, "decoded"), case["name"]
    for case in cases["undecodable"]:
        assert refused(lambda: decode(part(case, "payload"), case["layout"])), case["name"]
    for case in cases["unencodable"]:
        if not foreign(case):
            vector, scheme = np.frombuffer(part(case, "input"), "<f4"), Scheme.parse(case["scheme"])
            assert refused(lambda: encode(vector, case["layout"], scheme, case["round"], case["seed"])), case["name"]
    assert encoded > 60 and len(cases["undecodable"]) > 60


def test_error_feedback_bounds_the_residual():
    import numpy as np
    from payload import Scheme, decode, encode

    vector, layout = np.random.default_rng(0).normal(size=100_000).astype(np.float32), [("weight", (1000, 100))]

    def left_out(scheme):
        decoded = decode(encode(vector, layout, Scheme.parse(scheme), round=0, seed=7), layout)
        return np.square(vector.astype(float) - decoded).sum() / np.square(vector.astype(float)).sum()

    # Two bits with one scale leave out more than there was; the gain brings that to nine tenths, as closely as f32 can.
    assert left_out("int2:tensor") > 1
    assert abs(left_out("int2:tensor+ef") - 0.9) < 1e-6


def test_two_python_clients_and_a_rust_one_take_part_in_three_rounds():
    with tempfile.TemporaryDirectory() as home, Coordinator(home, size=3, rounds=3) as coordinator:
        forged = coordinator.token("python-0", 0).rsplit(".", 1)[0] + "." + "0" * 64
        impostor = coordinator.python("forged", "--token", forged)
        assert output(impostor, code=1) == ["error: the server does not show the authority that the token names"]

        python = [
            coordinator.python(f"python-{n}", "--token", coordinator.token(f"python-{n}", n), "--share", f"{n}/5") for n in (0, 1)
        ]
        rust = coordinator.rust("rust-2", 2)
        for client in python:
            lines = output(client)
            assert [line for line in lines if line.endswith(": accepted")] == [f"round {n}: accepted" for n in range(3)], lines
            assert not [line for line in lines if re.search("rejected|discarded|declined|trying again", line)], lines
        output(rust)
        coordinator.wait()

        rounds = coordinator.rounds()
        assert [(row["state"], row["accepted"], row["uncounted"]) for row in rounds] == [("committed", 3, {})] * 3, rounds
        accuracies = [row["accuracy"] for row in rounds]
        assert accuracies == sorted(accuracies) and accuracies[-1] > accuracies[0] + 0.1 and accuracies[-1] > 0.7, accuracies
        # Three payloads of int4: 4 + 8/64 bits for each of the mlp's 199,210 coordinates and little else.
        assert all(row["payload_bytes_up"] == 3 * 102_836 for row in rounds), rounds


def test_a_broken_upload_goes_on_where_it_broke_off_after_a_restart():
    import nibble_client

    class Breaks(nibble_client.Client):
        def parts(self, payload, update, offset):
            for number, part in enumerate(super().parts(payload, update, offset)):
                if number == 4:
                    raise ConnectionError("as if the device lost power here")
                yield part

    class Watches(nibble_client.Client):
        offsets = []

        def parts(self, payload, update, offset):
            self.offsets.append(offset)
            return super().parts(payload, update, offset)

    with tempfile.TemporaryDirectory() as home, Coordinator(home, size=1, rounds=1, scheme="fp32", insecure=True) as coordinator:
        arguments = (coordinator.address, home, ROOT / "learning/data/mnist-10k", (0, 20))
        broken = Breaks(*arguments, number=5)
        try:
            finish(broken)
            raise AssertionError("nothing broke")
        except nibble_client.grpc.RpcError:
            broken.channel.close()
        finish(Watches(*arguments, number=5))
        coordinator.wait()
        assert Watches.offsets == [3 * 65_536], Watches.offsets
        assert [row["accepted"] for row in coordinator.rounds()] == [1]


def test_what_it_cannot_train_it_declines():
    with tempfile.TemporaryDirectory() as home:
        with Coordinator(home, size=1, rounds=1, scheme="bf16", insecure=True) as coordinator:
            lines = output(coordinator.python("python-3", "--insecure", "3"))
            assert lines == ["round 0: declined: mlp under bf16: unknown scheme bf16", "tiny is finished"], lines
            coordinator.wait()
            assert list(coordinator.rounds()[0]["uncounted"]) == ["3"]


def finish(client):
    """`Client.run` without its second tries, which would hide what they mend."""
    for _ in range(20):
        if client.do_next():
            return
    raise AssertionError("the run is not over")


class Coordinator:
    """A real one, in a directory of its own, on a port of its own."""

    def __init__(self, home, size, rounds, scheme="int4", insecure=False):
        self.server, self.client = programs()
        self.home, self.insecure, self.started, directory = Path(home), insecure, [], Path(home, "coordinator")
        run([self.server, "init", directory, "--host", "127.0.0.1"])
        self.config = ["--config", directory / "nibble-server.toml"]
        for key in (
            f"cohort.size={size}", f"cohort.available={size}", f"run.rounds={rounds}", 'run.name="tiny"',
            f'compression.uplink="{scheme}"', 'listen="127.0.0.1:0"',
        ):
            self.config += ["--set", key]

    def __enter__(self):
        flags = ["--until-finished", "--log-format", "json"] + (["--insecure"] if self.insecure else [])
        command = [self.server, "serve", *self.config, *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.log = []
        for line in self.process.stdout:
            self.log.append(line)
            if found := re.search(r"\"address\":\"([^\"]+)\"", line):
                self.address = found[1]
                break
        else:
            raise AssertionError("".join(self.log))
        threading.Thread(target=lambda: self.log.extend(self.process.stdout), daemon=True).start()
        return self

    def __exit__(self, kind, *_):
        for process in [*self.started, self.process]:
            process.kill()
            process.wait()
        if kind:
            print("".join(self.log))

    def wait(self):
        """Until it stops by itself."""
        assert self.process.wait(SECONDS) == 0

    def token(self, name, number):
        return run([self.server, "token", *self.config, "--name", name, "--client", str(number)]).strip()

    def rounds(self):
        return json.loads(run([self.server, "rounds", *self.config, "--format", "json"]))

    def python(self, name, *arguments):
        command = [sys.executable, HERE / "nibble_client.py", "--server", self.address, "--state", self.home / name]
        return self.start([*command, *arguments])

    def rust(self, name, number):
        state, config = self.home / name, self.home / f"{name}.toml"
        run([self.client, "enroll", "--server", self.address, "--token", self.token(name, number), "--state", state])
        config.write_text(
            f'server = "https://{self.address}"\nstate = "{state}"\n[data]\ndataset = "mnist-10k"\n'
            'share = { index = 0, clients = 5, partition = { kind = "dirichlet", alpha = 0.3 }, seed = 1234 }\n'
        )
        return self.start([self.client, "run", config])

    def start(self, command):
        self.started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
        return self.started[-1]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def output(process, code=0):
    """The lines of a process that must end with this code."""
    text, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == code, f"{process.returncode}: {text}"
    return text.splitlines()


def environment():
    """The interpreter of a virtual environment that has what requirements.txt lists; None, with a word, where there is none."""
    if sys.version_info < (3, 11):
        return skip("Python 3.11 or newer is needed")
    requirements = HERE / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:16]
    directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "nibble", f"python-{digest}")
    interpreter, complete = directory / "bin/python", directory / "complete"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with open(directory.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            for command in (
                [sys.executable, "-m", "venv", "--clear", directory],
                [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements],
            ):
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode:
                    return skip((done.stderr or done.stdout).strip().splitlines()[-1])
            complete.touch()
    return interpreter


def skip(why):
    print(f"skipped: the Python client: {why}")


def main():
    programs()
    if INSIDE not in os.environ:
        if interpreter := environment():
            # One thread of linear algebra for each client is enough, and no proxy stands before the loopback address.
            settings = {INSIDE: "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "no_grpc_proxy": "127.0.0.1"}
            os.execve(interpreter, [interpreter, __file__, *sys.argv[1:]], os.environ | settings)
        return
    failed = 0
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    for name, test in tests:
        try:
            test()
            print(f"{name} ... ok", flush=True)
        except Exception:
            failed += 1
            traceback.print_exc()
            print(f"{name} ... FAILED", flush=True)
    print(f"{len(tests) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
