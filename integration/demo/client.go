package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// observer is a running `engram-sidecar observe`.
type observer struct {
	process *exec.Cmd
	stdin   io.WriteCloser
	stdout  bytes.Buffer
	ended   chan struct{} // closed when the process has ended; then err and stdout may be read
	err     error
}

// summary is what observe says at its end, as far as the demo looks at it.
type summary struct {
	Sent, Acked, Resent, Reconnects uint64
	Rate                            float64
	P50                             float64 `json:"p50_seconds"`
	P99                             float64 `json:"p99_seconds"`
}

// observe starts the client. What it has to say of lost connections is shown.
func (s *sidecar) observe() (*observer, error) {
	o := &observer{process: exec.Command(s.program, "observe", "--addr", s.address, "--drain", "--json"), ended: make(chan struct{})}
	stdin, err := o.process.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting observe: %w", err)
	}
	o.stdin = stdin
	o.process.Stdout, o.process.Stderr = &o.stdout, indented{os.Stdout}
	o.process.Env = environment(s.dir)
	if err := o.process.Start(); err != nil {
		return nil, fmt.Errorf("starting observe: %w", err)
	}
	go func() { // ends with the process, which the end of its input or kill ends
		o.err = o.process.Wait()
		close(o.ended)
	}()
	return o, nil
}

// over says that the process has ended.
func (o *observer) over() bool {
	select {
	case <-o.ended:
		return true
	default:
		return false
	}
}

// kill ends the process, and waits for it.
func (o *observer) kill() {
	_ = o.process.Process.Kill() // fails only when it has ended
	<-o.ended
}

// feed writes parts to the client's stdin as they come, and closes it behind the last.
func (o *observer) feed(parts <-chan []string) error {
	var err error
	for part := range parts {
		if err == nil {
			_, err = io.WriteString(o.stdin, strings.Join(part, "\n")+"\n")
		}
	}
	_ = o.stdin.Close() // where it fails the client is gone, and says so itself
	if err != nil {
		return fmt.Errorf("feeding observe: %w", err)
	}
	return nil
}

// finish waits for the client's end, which comes after that of its input, and returns what it counted.
func (o *observer) finish() (summary, error) {
	var sum summary
	if <-o.ended; o.err != nil {
		return sum, fmt.Errorf("observe failed: %w: %s", o.err, o.stdout.String())
	}
	if err := json.Unmarshal(o.stdout.Bytes(), &sum); err != nil {
		return sum, fmt.Errorf("the summary of observe: %w: %s", err, o.stdout.String())
	}
	return sum, nil
}

// recall runs `engram-sidecar recall` and returns what it prints.
func (s *sidecar) recall(args ...string) (string, error) {
	c := exec.Command(s.program, append([]string{"recall", "--addr", s.address}, args...)...)
	c.Env = environment(s.dir)
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("recall: %w", err)
	}
	return string(out), nil
}

// most is how many memories one recall returns at most.
const most = 10_000

// everything reads all memories of the default space that the store has committed: texts by id.
func (s *sidecar) everything(ctx context.Context) (map[string]string, error) {
	conn, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	client := engramv1.NewEngramServiceClient(conn)
	forth, back := opposites()
	all := map[string]string{}
	for _, vector := range [][]float32{forth, back} {
		if err := half(ctx, client, vector, all); err != nil {
			return nil, fmt.Errorf("reading the store back: %w", err)
		}
	}
	return all, nil
}

// opposites returns a vector and its negative.
func opposites() (v, w []float32) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 768 {
		x := float32(r.NormFloat64())
		v, w = append(v, x), append(w, -x)
	}
	return v, w
}

// half adds the memories whose cosine with vector is not negative.
func half(ctx context.Context, client engramv1.EngramServiceClient, vector []float32, all map[string]string) error {
	stream, err := client.RecallStream(ctx, &engramv1.StreamingRecallRequest{
		MaxResults: most, SnapshotIsolation: true,
		Cue: &engramv1.Cue{CueType: &engramv1.Cue_Embedding{Embedding: &engramv1.EmbeddingCue{Vector: vector}}},
	})
	if err != nil {
		return err
	}
	n := 0
	for {
		batch, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for _, m := range batch.GetResults() {
			all[m.GetId()] = m.GetContent()
			n++
		}
	}
	if n >= most {
		return fmt.Errorf("%d memories on one side: more than one recall returns", n)
	}
	return nil
}

// indented writes each line a little to the right.
type indented struct{ w io.Writer }

// Write implements io.Writer.
func (i indented) Write(p []byte) (int, error) {
	text := strings.ReplaceAll(strings.TrimRight(string(p), "\n"), "\n", "\n      ")
	if _, err := fmt.Fprintf(i.w, "      %s\n", text); err != nil {
		return 0, err
	}
	return len(p), nil
}
