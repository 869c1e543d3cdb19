"""A streaming client in its smallest useful form: it opens a session, observes, heeds backpressure, resumes after a lost
connection, and recalls. Run it beside a sidecar:

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python client.py [host:port]

The vectors here are made up from the text's bytes; use those of your model.
"""

import math
import queue
import re
import sys
import time
from pathlib import Path

import grpc

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "proto"))  # where grpc looks for .proto files
pb, services = grpc.protos_and_services("engram/v1/service.proto")
memory = grpc.protos("engram/v1/memory.proto")

WINDOW = 128  # observations under way: sent and not acked
TEXTS = [f"observation number {i + 1}" for i in range(1000)]


class Client:
    """One session. What is behind acked has to be kept: after a crash it is sent again."""

    def __init__(self, api):
        self.api = api
        self.session = ""  # empty until the sidecar has named it
        self.acked = 0  # up to here everything is on the sidecar's disk
        self.next = 0

    def stream(self):
        """Opens or resumes the session and sends what is not acked. Returns when all is acked."""
        requests = queue.SimpleQueue()
        requests.put(pb.ObservationRequest(session_id=self.session, init=pb.StreamInit(enable_backpressure=True)))
        answers = self.api.ObserveStream(iter(requests.get, None))
        try:
            for answer in answers:
                self.learn(answer)
                if self.acked >= len(TEXTS):
                    return
                while self.next <= min(len(TEXTS), self.acked + WINDOW):
                    requests.put(observation(self.next))
                    self.next += 1
            raise ConnectionError("the stream ended before everything was acked")
        finally:
            requests.put(None)
            answers.cancel()

    def learn(self, answer):
        """Takes note of one answer."""
        kind = answer.WhichOneof("result")
        if kind == "init_ack":
            self.session = answer.init_ack.session_id
            self.acked = answer.init_ack.initial_sequence  # may be past the last ack that arrived
            self.next = self.acked + 1
        elif kind == "ack":
            self.acked = max(self.acked, answer.sequence_number)
        elif answer.status.state == pb.StreamStatus.STATE_OVERLOADED:
            if answer.sequence_number == self.acked + 1:  # those behind it are refused too: go back once
                time.sleep(retry_after(answer.status.message))
                self.next = self.acked + 1  # refused observations use up no number
        elif answer.status.state == pb.StreamStatus.STATE_ERROR and answer.sequence_number == self.acked + 1:
            raise ValueError(f"observation {answer.sequence_number} refused: {answer.status.message}")
        # Anything else is news: BACKPRESSURE asks to slow down, ACTIVE says that there is room again.


def observation(number):
    text = TEXTS[number - 1]
    return pb.ObservationRequest(sequence_number=number, observation=memory.Episode(what=text, embedding=vector(text)))


def retry_after(message):
    """Reads the sidecar's advice, in seconds: "...; retry after 1.5s, resend from 812"."""
    found = re.search(r"retry after ([\d.]+)(ms|s|m)", message)
    return float(found[1]) * {"ms": 0.001, "s": 1, "m": 60}[found[2]] if found else 1.0


def vector(text):
    """Makes 768 numbers of length 1 out of a text."""
    v = [0.0] * 768
    for i, b in enumerate(text.encode()):
        v[(i * 31 + b) % len(v)] += 1
    norm = math.hypot(*v)
    return [x / norm for x in v]


def main():
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"
    channel = grpc.insecure_channel(address, options=[("grpc.max_reconnect_backoff_ms", 1000)])
    client = Client(services.EngramServiceStub(channel))
    while client.acked < len(TEXTS):
        try:
            client.stream()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAVAILABLE:
                raise
            print(f"connection lost after observation {client.acked}: resuming", file=sys.stderr)
            time.sleep(0.2)  # a real client backs off
    print(f"session {client.session}: {client.acked} acked")

    cue = memory.Cue(embedding=memory.EmbeddingCue(vector=vector("observation number 42")))
    for found in client.api.Recall(pb.RecallRequest(max_results=3, cue=cue)).memories:
        print("recalled:", found.content)


if __name__ == "__main__":
    main()
