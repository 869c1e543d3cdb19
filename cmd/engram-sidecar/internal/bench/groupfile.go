package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc/mem"
)

// groupFile is a bare file under group commit: while one batch is written and synced the next is filled. It does nothing
// else, so that it is the least that durability can cost.
type groupFile struct {
	dir  string
	file *os.File
	size int64
	next int // number of the next file

	mu      sync.Mutex
	filling *group
	work    chan struct{} // cap 1
}

// group is what one fsync makes durable.
type group struct {
	bytes  []byte
	owners []*owner // of runs of messages
	counts []int64
}

// fileLimit is where a file is left for a new one, so that a long run does not fill the disk.
const fileLimit = 1 << 30

func openGroupFile(dir string) (*groupFile, error) {
	f := &groupFile{dir: dir, filling: &group{}, work: make(chan struct{}, 1)}
	return f, f.change()
}

// change goes on in a new file, and deletes the one before.
func (f *groupFile) change() error {
	old := f.file
	var err error
	if f.file, err = os.Create(filepath.Join(f.dir, fmt.Sprintf("bare-%d", f.next))); err != nil {
		return err
	}
	f.next, f.size = f.next+1, 0
	if old == nil {
		return nil
	}
	return errors.Join(old.Close(), os.Remove(old.Name()))
}

func (f *groupFile) append(o *owner, parts mem.BufferSlice) {
	f.mu.Lock()
	g := f.filling
	for _, p := range parts {
		g.bytes = append(g.bytes, p.ReadOnlyData()...)
	}
	if last := len(g.owners) - 1; last >= 0 && g.owners[last] == o {
		g.counts[last]++
	} else {
		g.owners, g.counts = append(g.owners, o), append(g.counts, 1)
	}
	f.mu.Unlock()
	select {
	case f.work <- struct{}{}:
	default:
	}
}

// run is the committer. It returns when ctx ends, or the disk fails.
func (f *groupFile) run(ctx context.Context) error {
	spare := &group{}
	for {
		select {
		case <-f.work:
		case <-ctx.Done():
			return nil
		}
		f.mu.Lock()
		g := f.filling
		f.filling = spare
		f.mu.Unlock()
		if err := f.write(g.bytes); err != nil {
			return err
		}
		for i, o := range g.owners {
			o.durable.Add(g.counts[i])
			select {
			case o.wake <- struct{}{}:
			default:
			}
		}
		clear(g.owners)
		g.bytes, g.owners, g.counts = g.bytes[:0], g.owners[:0], g.counts[:0]
		spare = g
	}
}

// write appends and syncs.
func (f *groupFile) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if f.size > fileLimit {
		if err := f.change(); err != nil {
			return err
		}
	}
	n, err := f.file.Write(b)
	if err != nil {
		return err
	}
	f.size += int64(n)
	return f.file.Sync()
}
