"""A client of a Nibble coordinator, written from proto/, docs/protocol.md and docs/wire-format.md alone.

It enrols, trains what it is assigned on its share of MNIST, and sends compressed updates until the run is over. It may be
killed at any moment: what it must not forget is on disk before it is sent. Read it from `Client.run` on.

Not here: models other than dense layers on MNIST, fp16 and bf16 (it declines those), and the residuals of several runs.
"""

import argparse
import hashlib
import io
import random
import sys
import time
from pathlib import Path

import grpc
import numpy as np

from identity import Identity, Untrusted, write_durably
from payload import Malformed, Scheme, crc32c, decode, encode
from trainer import Network, load_mnist

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT / "proto/proto"))
# grpcio-tools makes the messages in memory from the .proto files: nothing generated is kept.
messages, services = grpc.protos_and_services("nibble/v1/coordinator.proto")
enrolment, enrolment_services = grpc.protos_and_services("nibble/v1/enrolment.proto")

CHUNK = 65_536
HOLD_MS = 50_000
# Seconds for calls that move or answer something at once, and beyond the time for which a call is held.
PATIENCE = 60
NO_USE_TRYING = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
}


class Damaged(Exception):
    """A part of a download that does not fit; the parts before it are good."""


class Memory:
    """What a client must not forget: its pending update and the residual, in its state directory."""

    def __init__(self, state):
        self.pending_path, self.residual_path = Path(state, "pending.npz"), Path(state, "residual.npz")
        self.pending = _read_npz(self.pending_path) if self.pending_path.exists() else None

    def residual(self, run, size):
        """What earlier updates of this run left out."""
        if self.residual_path.exists():
            kept = _read_npz(self.residual_path)
            if kept["run"] == run and kept["values"].size == size:
                return kept["values"]
        return np.zeros(size, dtype=np.float32)

    def make_pending(self, **update):
        self.pending = {name: np.asarray(value) for name, value in update.items()}
        write_durably(self.pending_path, _npz(**self.pending))

    def settle(self, accepted):
        """Moves the residual, then forgets the pending update. Killed in between, it does the same again."""
        if self.pending["error_feedback"]:
            meant, decoded = self.pending["meant"], self.pending["decoded"]
            write_durably(self.residual_path, _npz(run=self.pending["run"], values=meant - decoded if accepted else meant))
        self.pending_path.unlink()
        self.pending = None


class Client:
    """One device in a run."""

    def __init__(self, server, state, data, share, identity=None, number=None):
        self.server, self.identity, self.memory = server, identity, Memory(state)
        self.metadata = None if identity else [("nibble-client", str(number))]
        index, of = share
        images, labels = load_mnist(data, "train")
        self.images, self.labels = images[index::of], labels[index::of]
        self.model, self.partial = None, None
        self.connect()

    def connect(self):
        self.channel = self.identity.channel(self.server) if self.identity else grpc.insecure_channel(self.server)
        self.stub = services.CoordinatorServiceStub(self.channel)

    def run(self):
        """Takes part until the run is over. After any trouble it asks again what to do: the coordinator knows."""
        pause = 0.5
        while True:
            try:
                if self.do_next():
                    return
                pause = 0.5
            except (grpc.RpcError, Damaged) as error:
                if isinstance(error, grpc.RpcError) and error.code() in NO_USE_TRYING:
                    raise
                say(f"{describe(error)}; trying again")
                time.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, 60.0)

    def do_next(self):
        """Asks what to do, and does it; true once the run is over."""
        self.renew_certificate()
        pending = self.update_ref() if self.memory.pending else None
        request = messages.CheckInRequest(pending=pending, hold_ms=HOLD_MS)
        answer = self.stub.CheckIn(request, timeout=HOLD_MS / 1000 + PATIENCE, metadata=self.metadata)
        match answer.WhichOneof("instruction"):
            case "wait":
                time.sleep(answer.wait.retry_after_ms / 1000)
            case "assignment":
                self.take_part(answer.assignment)
            case "send_pending":
                self.upload()
            case "receipt":
                self.settle(answer.receipt)
            case "finished":
                say(f"{answer.finished.run} is finished")
                return True
            case other:
                raise RuntimeError(f"an instruction that this client does not know: {other}")
        return False

    def renew_certificate(self):
        service, request = enrolment_services.EnrolmentServiceStub, enrolment.RenewRequest
        if self.identity and self.identity.renew_when_due(self.channel, service, request):
            say("the certificate is renewed")
            self.channel.close()
            self.connect()

    def take_part(self, assignment):
        """Trains, and sends an update or declines."""
        layout = [(tensor.name, tuple(tensor.shape)) for tensor in assignment.layout]
        try:
            scheme = Scheme.parse(assignment.scheme)
            network = Network(layout, inputs=self.images.shape[1])
            if assignment.training.qat:
                raise ValueError(f"no training for {assignment.training.qat} here")
            if assignment.HasField("control"):
                raise ValueError("no control variates here")
            if assignment.HasField("personal"):
                raise ValueError("no tensors of one's own here")
        except ValueError as error:
            self.decline(assignment, f"{assignment.architecture} under {assignment.scheme}: {error}")
            return
        parameters = self.global_model(assignment.model, layout)
        measured = assignment.training.measure
        start_loss = network.loss(parameters, self.images, self.labels) if measured else None
        trained, loss = network.train(parameters, self.images, self.labels, assignment.training, assignment.order_seed)
        meant = trained - parameters
        if scheme.error_feedback:
            meant += self.memory.residual(assignment.run, meant.size)
        try:
            payload = encode(meant, layout, scheme, assignment.round, assignment.rounding_seed)
        except Malformed as error:
            self.decline(assignment, f"training diverged: {error}")
            return
        if len(payload) > assignment.max_payload_bytes:
            self.decline(assignment, f"the payload has {len(payload)} bytes")
            return
        decoded = decode(payload, layout)
        self.memory.make_pending(
            run=assignment.run,
            round=assignment.round,
            payload=np.frombuffer(payload, np.uint8),
            samples=len(self.labels),
            loss=loss,
            start_loss=np.nan if start_loss is None else start_loss,
            nmse=relative_error(meant, decoded),
            error_feedback=scheme.error_feedback,
            meant=meant,
            decoded=decoded,
        )
        say(f"round {assignment.round}: trained on {len(self.labels)} samples, loss {loss:.4f}, {len(payload)} bytes")
        self.upload()

    def decline(self, assignment, reason):
        say(f"round {assignment.round}: declined: {reason}")
        request = messages.DeclineRequest(run=assignment.run, round=assignment.round, reason=reason)
        self.stub.Decline(request, timeout=PATIENCE, metadata=self.metadata)

    def global_model(self, reference, layout):
        """The parameters with this SHA-256: those held, or else downloaded from where an earlier download broke off."""
        if self.model and self.model[0] == reference.sha256:
            return self.model[1]
        if not self.partial or self.partial[0] != reference.sha256:
            self.partial = (reference.sha256, bytearray())
        frame = self.partial[1]
        request = messages.DownloadModelRequest(sha256=reference.sha256, offset=len(frame))
        for part in self.stub.DownloadModel(request, timeout=10 * PATIENCE, metadata=self.metadata):
            chunk = part.chunk
            if (chunk.offset, chunk.crc32c) != (len(frame), crc32c(chunk.data)):
                raise Damaged(f"a part of the model at byte {chunk.offset} does not fit")
            frame += chunk.data
        if len(frame) < reference.frame_bytes:
            raise Damaged(f"the model broke off at byte {len(frame)}")
        self.partial = None
        parameters = decode(bytes(frame), layout)
        if hashlib.sha256(parameters.astype("<f4").tobytes()).digest() != reference.sha256:
            raise Malformed("not the model that was named")
        self.model = (reference.sha256, parameters)
        return parameters

    def upload(self):
        """Sends the pending update from where the coordinator has it."""
        payload, update = self.memory.pending["payload"].tobytes(), self.update_ref()
        offset = self.stub.GetUpload(messages.GetUploadRequest(update=update), timeout=PATIENCE, metadata=self.metadata).offset
        parts = self.parts(payload, update, offset)
        answer = self.stub.UploadUpdate(parts, timeout=10 * PATIENCE, metadata=self.metadata)
        if answer.WhichOneof("result") == "receipt":
            self.settle(answer.receipt)

    def parts(self, payload, update, offset):
        """What an upload sends: a header, then chunks."""
        pending = self.memory.pending
        signed = b"nibble update v1\n" + update.run.encode() + b"\n" + update.round.to_bytes(8, "little") + update.payload_sha256
        yield messages.UploadUpdateRequest(header=messages.UpdateHeader(
            update=update,
            samples=int(pending["samples"]),
            payload_bytes=len(payload),
            offset=offset,
            signature=self.identity.sign(signed) if self.identity else b"",
            train_loss=float(pending["loss"]),
            start_loss=None if np.isnan(pending["start_loss"]) else float(pending["start_loss"]),
            nmse=float(pending["nmse"]),
        ))
        for at in range(offset, len(payload), CHUNK):
            data = payload[at : at + CHUNK]
            yield messages.UploadUpdateRequest(chunk=messages.Chunk(offset=at, data=data, crc32c=crc32c(data)))

    def update_ref(self):
        pending = self.memory.pending
        digest = hashlib.sha256(pending["payload"].tobytes()).digest()
        return messages.UpdateRef(run=str(pending["run"]), round=int(pending["round"]), payload_sha256=digest)

    def settle(self, receipt):
        if receipt.update != self.update_ref():
            raise RuntimeError("a receipt for another update than the pending one")
        outcome = messages.Outcome.Name(receipt.outcome).removeprefix("OUTCOME_").lower()
        if receipt.outcome not in (messages.OUTCOME_ACCEPTED, messages.OUTCOME_REJECTED, messages.OUTCOME_DISCARDED):
            raise RuntimeError(f"an outcome that this client does not know: {receipt.outcome}")
        say(f"round {receipt.update.round}: {outcome}" + (f": {receipt.detail}" if receipt.detail else ""))
        self.memory.settle(accepted=receipt.outcome == messages.OUTCOME_ACCEPTED)


def relative_error(meant, decoded):
    meant, decoded = meant.astype(np.float64), decoded.astype(np.float64)
    return np.square(decoded - meant).sum() / max(np.square(meant).sum(), np.finfo(float).tiny)


def describe(error):
    return f"{error.code().name}: {error.details()}" if isinstance(error, grpc.RpcError) else str(error)


def _npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _read_npz(path):
    with np.load(path) as arrays:
        return dict(arrays)


def say(text):
    print(text, flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Takes part in a run of a Nibble coordinator, with MNIST.")
    parser.add_argument("--server", required=True, metavar="HOST:PORT")
    parser.add_argument("--state", required=True, metavar="DIR", help="what the client must not forget; made if it is not there")
    parser.add_argument("--token", help="one-time token, needed the first time; - reads it from stdin")
    parser.add_argument("--insecure", type=int, metavar="N", help="no TLS, as client N; the coordinator must say --insecure, too")
    parser.add_argument("--data", default=ROOT / "learning/data/mnist-10k", metavar="DIR", help="IDX files, gzipped")
    parser.add_argument("--share", default="0/1", metavar="I/N", help="use samples I, I+N, I+2N ... only")
    return parser.parse_args()


def main():
    options = arguments()
    Path(options.state).mkdir(parents=True, exist_ok=True)
    identity = None
    if options.insecure is None:
        if Identity.exists(options.state):
            identity = Identity(options.state)
        elif options.token:
            token = sys.stdin.readline() if options.token == "-" else options.token
            service, request = enrolment_services.EnrolmentServiceStub, enrolment.EnrolRequest
            identity = Identity.enrol(options.state, options.server, token, service, request)
            say("enrolled")
        else:
            sys.exit("error: not enrolled yet: --token is needed the first time")
    share = tuple(int(part) for part in options.share.split("/"))
    Client(options.server, options.state, options.data, share, identity, options.insecure).run()


if __name__ == "__main__":
    try:
        main()
    except (grpc.RpcError, Untrusted, Malformed) as error:
        sys.exit(f"error: {describe(error)}")
    except KeyboardInterrupt:
        sys.exit(130)
