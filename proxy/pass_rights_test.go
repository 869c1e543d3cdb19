package proxy

import (
	"errors"
	"io"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// TestRightsHoldForWhatIsPassedThrough: each request is judged by the space that it names before the upstream sees it, also
// the second one of a stream. The upstream has a default space of its own, so that one that names none is refused.
func TestRightsHoldForWhatIsPassedThrough(t *testing.T) {
	ring, _ := tokens(t)
	in := func(space string) string { return string(*frameOf(t, &pb.ForgetRequest{MemorySpaceId: space})) }
	for _, row := range []struct {
		name, token, method string
		requests            []string
		code                codes.Code
		text                string
		passed              int // of the requests
	}{
		{"its space", notesToken, forget, []string{in("notes")}, codes.OK, "", 1},
		{"another space", notesToken, forget, []string{in("logs")}, codes.PermissionDenied, `no right w in memory space "logs"`, 0},
		{"no space", notesToken, forget, []string{in("")}, codes.PermissionDenied, "expected memory_space_id", 0},
		{"a space that two readers read differently", notesToken, forget, []string{in("notes") + in("logs")}, codes.PermissionDenied, "logs", 0},
		{"no message", notesToken, forget, []string{notProtobuf}, codes.InvalidArgument, "malformed", 0},
		{"only a reader", readerToken, forget, []string{in("notes")}, codes.PermissionDenied, "no right w", 0},
		{"a stream of answers", notesToken, dream, []string{in("notes")}, codes.OK, "", 1},
		{"a stream of answers, elsewhere", notesToken, dream, []string{in("logs")}, codes.PermissionDenied, "no right", 0},
		{"the second of two", notesToken, forget, []string{in("notes"), in("logs")}, codes.PermissionDenied, "logs", 1},
		{"a method that nobody knows", notesToken, levitate, []string{in("notes")}, codes.PermissionDenied, "needs the right *:rw", 0},
		{"a method that nobody knows, with every right", allToken, levitate, []string{notProtobuf}, codes.OK, "", 1},
		{"the upstream's own default, with every right", allToken, forget, []string{in("")}, codes.OK, "", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got requestLog
			_, e := newUpstreamWith(t, Config{}, got.serve, func(d *Deps) { d.Tokens = ring })
			call := e.open(with(e.ctx, row.token), row.method)
			for _, request := range row.requests {
				f := Frame(request)
				if err := call.SendMsg(&f); err != nil && !errors.Is(err, io.EOF) { // which says that it was refused already
					t.Fatal(err)
				}
			}
			if err := call.CloseSend(); err != nil {
				t.Fatal(err)
			}
			err := call.RecvMsg(new(Frame))
			if err == nil {
				err = call.RecvMsg(new(Frame)) // the end, behind the only answer
			}
			wantStatus(t, err, row.code, row.text)
			if seen := got.all(); len(seen) > row.passed || row.code == codes.OK && !slices.Equal(seen, row.requests) {
				t.Errorf("the upstream got %q, want %d of %q", seen, row.passed, row.requests)
			}
		})
	}
}

// requestLog is an upstream that notes its requests, and answers once when there are no more.
type requestLog struct {
	mu   sync.Mutex
	seen []string
}

func (l *requestLog) serve(_ any, stream grpc.ServerStream) error {
	for {
		var f Frame
		if err := stream.RecvMsg(&f); errors.Is(err, io.EOF) {
			return stream.SendMsg(new(Frame))
		} else if err != nil {
			return err
		}
		l.mu.Lock()
		l.seen = append(l.seen, string(f))
		l.mu.Unlock()
	}
}

func (l *requestLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.seen)
}
