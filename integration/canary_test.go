package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/integration/harness"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// canaries are secrets that are planted wherever a client or an operator can put one, and looked for in everything that the
// sidecar writes but its data.
type canaries struct {
	t     *testing.T
	names []string
	words [][]byte
}

// plant makes a secret.
func (c *canaries) plant(name string) string {
	word := fmt.Sprintf("canary%02dz%x", len(c.names), time.Now().UnixNano())
	c.names, c.words = append(c.names, name), append(c.words, []byte(word))
	return word
}

// vector makes an embedding, and watches for its numbers in text and in bytes.
func (c *canaries) vector(name string) []float32 {
	v := make([]float32, harness.Dimensions)
	for i := range v {
		v[i] = float32(i%97)/997 + 0.0123457
	}
	var raw []byte
	for _, x := range v[:8] {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	for what, word := range map[string][]byte{
		"in bytes": raw, "in words": []byte(fmt.Sprint(v[40])), "in other words": []byte(fmt.Sprintf("%.6f", v[41])), "in a list": []byte(fmt.Sprint(v[:3])[1:]),
	} {
		c.names, c.words = append(c.names, name+" "+what), append(c.words, word)
	}
	return v
}

// search fails the test for each secret that a text holds.
func (c *canaries) search(where string, text []byte) {
	c.t.Helper()
	if len(text) == 0 {
		c.t.Errorf("%s: nothing was written: the search proves nothing", where)
	}
	for i, word := range c.words {
		if at := bytes.Index(text, word); at >= 0 {
			c.t.Errorf("%s tells the secret in %s: …%q…", where, c.names[i], text[max(at-200, 0):min(at+80, len(text))])
		}
	}
}

// TestCanaries plants 20 secrets and more, and looks for them in the log at its highest level, in metrics, status and every
// answer of the admin address, in what commands print, and in the stacks of a crash.
func TestCanaries(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) { searchForCanaries(t, format) })
	}
}

func searchForCanaries(t *testing.T, format string) {
	c := &canaries{t: t}
	token, ops := c.plant("a client's token"), c.plant("an operator's token")
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	store := harness.NewEngram(t, nil)
	s := harness.NewSidecar(t, harness.Binary(t), "--log-level", "trace", "--log-format", format, "--pprof", "--store", "engram://"+store.Address,
		"--token-file", file("tokens", "app "+token+" *:rw\nops "+ops+" admin\n"))
	e := &engramv1.Episode{
		Id: c.plant("an id"), What: c.plant("what"), WhereLocation: c.plant("where"), Who: []string{c.plant("who")}, Why: c.plant("why"),
		How: c.plant("how"), Embedding: c.vector("an embedding"),
	}
	answers := []func() error{ // the store quotes what it was sent, in every way that it can refuse
		func() error {
			return status.Errorf(codes.InvalidArgument, "content %q is refused: vector %v", e.GetWhat(), e.GetEmbedding()[:3])
		},
		func() error { return status.Errorf(codes.Internal, "panic at %s", e.GetWhy()) },
		func() error { return status.Errorf(codes.Unavailable, "later with %s", e.GetHow()) },
		func() error {
			return status.Errorf(codes.PermissionDenied, "nobody may store %s of %s", e.GetId(), e.GetWho())
		},
	}
	turn := make(chan struct{}, 1)
	turn <- struct{}{}
	refused := 0
	store.Set(harness.Faults{Refuse: func(*engramv1.Episode) error {
		<-turn
		defer func() { turn <- struct{}{} }()
		refused++
		return answers[refused%len(answers)]()
	}})
	s.Start()
	c.talk(s, token, e)
	s.Await("the store's refusals", func() (bool, error) {
		<-turn
		defer func() { turn <- struct{}{} }()
		return refused > 2*len(answers), nil
	})
	c.askAdmin(s, ops)
	c.runCommands(s, file("ops", ops), file("token", token), e)

	if err := syscall.Kill(s.Pid(), syscall.SIGQUIT); err != nil { // the runtime writes what it writes at an unforeseen panic
		t.Fatal(err)
	}
	<-s.Ended()
	text := s.Log.String()
	for _, want := range []string{"SIGQUIT", "goroutine ", "a call was refused", "session attached"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not hold %q: the search proves less than it says", want)
		}
	}
	c.search("the log", []byte(text))
	if len(c.words) < 20 {
		t.Errorf("only %d secrets were planted", len(c.words))
	}
}

// talk says the secrets over gRPC, in good and in bad messages.
func (c *canaries) talk(s *harness.Sidecar, token string, e *engramv1.Episode) {
	ctx, cancel := context.WithTimeout(c.t.Context(), harness.Patience)
	defer cancel()
	conn := s.Connect()
	rpc := engramv1.NewEngramServiceClient(conn)
	as := func(token string) context.Context {
		return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token, "x-note", c.plant("a header"))
	}
	app := as(token)
	stream, err := rpc.ObserveStream(app)
	if err != nil {
		c.t.Fatal(err)
	}
	bad := &engramv1.Episode{What: c.plant("a refused text"), Embedding: e.GetEmbedding()[:3]}
	long := &engramv1.Episode{What: strings.Repeat(c.plant("a text too long"), 20_000), Embedding: e.GetEmbedding()}
	requests := []*engramv1.ObservationRequest{initOf("")}
	for n := range uint64(12) {
		requests = append(requests, observe(n+1, e))
	}
	for _, request := range append(requests, observe(13, bad), observe(13, long), observe(99, e)) {
		if err := stream.Send(request); err != nil {
			c.t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, call := range []func() error{
		func() error {
			_, err := rpc.Remember(as(c.plant("a wrong token")), &engramv1.RememberRequest{})
			return err
		},
		func() error {
			_, err := rpc.Remember(app, &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Memory{Memory: &engramv1.Memory{
				Content: c.plant("a memory"), Metadata: map[string]string{c.plant("a key"): c.plant("a value")}, Embedding: e.GetEmbedding()[1:],
			}}})
			return err
		},
		func() error {
			_, err := rpc.Remember(app, &engramv1.RememberRequest{MemorySpaceId: c.plant("a bad space's name") + "!"})
			return err
		},
		func() error {
			return conn.Invoke(app, "/engram.v1.EngramService/"+c.plant("a method's name"), &engramv1.ForgetRequest{}, &engramv1.ForgetResponse{})
		},
		func() error {
			_, err := rpc.Recall(app, &engramv1.RecallRequest{Cue: &engramv1.Cue{CueType: &engramv1.Cue_Embedding{
				Embedding: &engramv1.EmbeddingCue{Vector: e.GetEmbedding()[:9]},
			}}})
			return err
		},
	} {
		if call() == nil {
			c.t.Error("a call that had to be refused was not")
		}
	}
	_, _ = rpc.Recall(app, &engramv1.RecallRequest{Cue: &engramv1.Cue{CueType: &engramv1.Cue_Semantic{Semantic: &engramv1.SemanticCue{Query: c.plant("a question")}}}}) // whatever comes of it
	_, err = rpc.Recall(app, &engramv1.RecallRequest{Cue: &engramv1.Cue{CueType: &engramv1.Cue_Embedding{Embedding: &engramv1.EmbeddingCue{Vector: e.GetEmbedding()}}}})
	if err != nil && status.Code(err) != codes.Unavailable {
		c.t.Error(err)
	}
	if _, err := rpc.Remember(metadata.AppendToOutgoingContext(ctx, "authorization", "Basic "+token), &engramv1.RememberRequest{}, grpc.WaitForReady(true)); err == nil {
		c.t.Error("a token of another scheme was taken")
	}
}

// askAdmin looks for the secrets in what the admin address answers to those who may ask, and to those who may not.
func (c *canaries) askAdmin(s *harness.Sidecar, ops string) {
	for _, path := range []string{"/metrics", "/api/status", "/api/sessions", "/livez", "/readyz", "/", "/" + "nowhere", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
		for _, token := range []string{ops, c.plant("a guess at the admin address")} {
			request, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+s.Admin()+path, nil)
			if err != nil {
				c.t.Fatal(err)
			}
			request.SetBasicAuth("", token)
			request.Close = true
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				c.t.Fatal(err)
			}
			var body bytes.Buffer
			_ = response.Header.Write(&body) // a buffer takes everything
			if _, err := body.ReadFrom(response.Body); err != nil {
				c.t.Fatal(err)
			}
			_ = response.Body.Close()
			c.search(path, body.Bytes())
		}
	}
}

// runCommands looks in what the commands print that only look, whether they may or not.
func (c *canaries) runCommands(s *harness.Sidecar, ops, token string, e *engramv1.Episode) {
	for _, args := range [][]string{
		{"status", "--admin", s.Admin(), "--token-file", ops},
		{"status", "--json", "--admin", s.Admin(), "--token-file", ops},
		{"status", "--admin", s.Admin(), "--token-file", token},
		{"journal", "inspect", "--data-dir", s.Dir},
		{"journal", "verify", "--data-dir", s.Dir},
		{"recall", "--addr", s.Listen, "--token-file", ops, "words"},
		{"version"},
	} {
		o := runToEnd(c.t, harness.Command(c.t, s.Bin, args...))
		c.search(strings.Join(args, " "), []byte(o.stdout+o.stderr))
	}
}
