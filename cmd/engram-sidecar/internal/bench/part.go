package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// role is what a process of its own does.
type role string

const (
	roleDrive    role = "drive"    // the client
	roleEcho     role = "echo"     // server: answers at once
	roleDurable  role = "durable"  // server: answers when the bytes are synced
	roleEngram   role = "engram"   // server: an Engram-like store
	roleFile     role = "file"     // drives a bare file
	roleJournal  role = "journal"  // drives a journal
	roleEmbedded role = "embedded" // drives an embedded store
)

// part is what a process is told on its stdin.
type part struct {
	Role     role     `json:"role"`
	Address  string   `json:"address,omitempty"`  // what the client drives
	Protocol Protocol `json:"protocol,omitempty"` // how
	Dir      string   `json:"dir,omitempty"`      // where the part may write
	Batch    int      `json:"batch,omitempty"`    // records, of what drives itself
	Load     Load     `json:"load"`
}

// event is what a process tells on its stdout, a JSON object a line.
type event struct {
	Address string    `json:"address,omitempty"` // a server serves
	Begun   bool      `json:"begun,omitempty"`   // counting has begun
	Acked   uint64    `json:"acked,omitempty"`   // since then
	Ended   bool      `json:"ended,omitempty"`   // counting has ended
	Result  *measured `json:"result,omitempty"`
	Failure string    `json:"failure,omitempty"`
}

// RunPart is the hidden command that the processes run: it reads what it is to be from stdin, and ends with it, or
// when its work fails.
func RunPart(ctx context.Context, in io.Reader, out io.Writer) error {
	var p part
	decoder := json.NewDecoder(in)
	if err := decoder.Decode(&p); err != nil {
		return fmt.Errorf("bench part: expected on stdin what to do: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with stdin, which the parent holds open
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	t := teller{out: json.NewEncoder(out)}
	err := p.run(ctx, t.tell)
	if err != nil && ctx.Err() == nil {
		t.tell(event{Failure: err.Error()})
	}
	if err == nil {
		<-ctx.Done() // the parent may still want to read what this process has used
	}
	return err
}

// teller writes events, from several goroutines.
type teller struct {
	mu  sync.Mutex
	out *json.Encoder
}

func (t *teller) tell(e event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_ = t.out.Encode(e) // a parent that is gone ends this process by its stdin
}

func (p *part) run(ctx context.Context, tell func(event)) error {
	switch p.Role {
	case roleDrive:
		return drive(ctx, p.Address, p.Protocol, p.Load, tell)
	case roleFile:
		return aloneFile(ctx, p.Dir, p.Load, p.Batch, tell)
	case roleJournal:
		return aloneJournal(ctx, p.Dir, p.Load, p.Batch, tell)
	case roleEmbedded:
		return aloneEmbedded(ctx, p.Dir, p.Load, p.Batch, tell)
	case roleEcho, roleDurable, roleEngram:
		return p.serve(ctx, tell)
	default:
		return fmt.Errorf("bench part: unknown role %q", p.Role)
	}
}

// serve serves until ctx ends.
func (p *part) serve(ctx context.Context, tell func(event)) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	tell(event{Address: l.Addr().String()})
	if p.Role == roleEngram {
		return until(ctx, l, engramLike{}.serve)
	}
	var file *groupFile
	failed := make(chan error, 1)
	if p.Role == roleDurable {
		if file, err = openGroupFile(p.Dir); err != nil {
			return errors.Join(err, l.Close())
		}
		go func() { failed <- file.run(ctx) }() // ends with ctx, and the process with it
	}
	e, err := newEcho(file)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	go func() { // ends with the file's committer
		if err := <-failed; err != nil {
			tell(event{Failure: err.Error()})
			_ = l.Close() // which ends this part
		}
	}()
	return until(ctx, l, e.serve)
}

// until serves until ctx ends. The process ends behind it, so that nothing has to be waited for.
func until(ctx context.Context, l net.Listener, serve func(net.Listener) error) error {
	served := make(chan error, 1)
	go func() { served <- serve(l) }() // ends when the listener is closed
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
		return nil
	}
}
