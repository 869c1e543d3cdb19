package recovery

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// view is the journal of a running sidecar at one moment: what a crash would have left then, but that deletions under way
// may not have reached the disk. Its files stay readable when they are deleted meanwhile.
//
// Why it is one moment. A generation that is gone when it is to be opened was released; that record was durable before,
// in a generation with a higher number, which is opened later or listed next: the last round opens nothing, and finds the
// same generations listed after its opens as before them. Sizes are taken when all are open, the newest first: a generation is finished before the next one has a byte, so
// that whatever stands in front of a generation that has some is whole.
type view struct {
	files map[uint64]*os.File
	sizes map[uint64]int64
}

func newView() *view { return &view{files: map[uint64]*os.File{}, sizes: map[uint64]int64{}} }

func openView(journalDir string) (*view, error) {
	v := newView()
	err := v.fill(journalDir, func() ([]uint64, error) { return listGenerations(journalDir) })
	if err == nil {
		err = v.measure()
	}
	if err != nil {
		return nil, errors.Join(err, v.close())
	}
	return v, nil
}

// fill opens what there is at one moment, by listings of the generations.
func (v *view) fill(journalDir string, list func() ([]uint64, error)) error {
	before, err := list()
	for err == nil {
		var more bool
		if more, err = v.open(journalDir, before); err != nil {
			break
		}
		var after []uint64
		if after, err = list(); err == nil && !more && slices.Equal(before, after) {
			return nil
		}
		before = after
	}
	return err
}

func (v *view) measure() error {
	for _, n := range slices.Backward(v.numbers()) {
		fi, err := v.files[n].Stat()
		if err != nil {
			return fmt.Errorf("look at generation %d: %w", n, err)
		}
		v.sizes[n] = fi.Size()
	}
	return nil
}

// open opens what is not open yet, ascending, and says whether that was anything.
func (v *view) open(journalDir string, found []uint64) (more bool, err error) {
	for _, n := range found {
		if v.files[n] != nil {
			continue
		}
		f, err := os.Open(wal.SegmentPath(journalDir, n))
		if errors.Is(err, os.ErrNotExist) {
			continue // released, or being made ready
		}
		if err != nil {
			return false, fmt.Errorf("look at generation %d: %w", n, err)
		}
		v.files[n], more = f, true
	}
	return more, nil
}

func (v *view) numbers() []uint64 {
	var out []uint64
	for n := range v.files {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func (v *view) scan(p *plan, n uint64, visit func(*wal.Record) error) (*wal.Scanned, error) {
	path := wal.SegmentPath(p.journalDir, n)
	f := v.files[n]
	if f == nil {
		return &wal.Scanned{Number: n, Path: path}, nil
	}
	return wal.ScanOpen(f, v.sizes[n], path, p.format.Journal, n, visit)
}

// reader is what stands in a generation.
func (v *view) reader(n uint64) io.Reader { return io.NewSectionReader(v.files[n], 0, v.sizes[n]) }

func (v *view) close() error {
	var errs []error
	for _, f := range v.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
