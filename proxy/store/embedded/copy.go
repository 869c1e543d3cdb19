package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
)

// Copy copies the store in directory from, which may be in use, to a directory that does not exist yet, and returns how many
// bytes that were. Every memory that Put had confirmed before Copy was called is in the copy; the copy is durable when Copy
// returns. A from that does not exist has nothing to copy.
//
// It copies the segments and not the index: they grow at their ends alone and each row proves itself, so that a copy made
// while they grow is what a crash could have left, whereas bbolt's pages change in place. Open makes the index anew from the
// segments, which reads all of them once.
func Copy(ctx context.Context, from, to string) (bytes int64, err error) {
	files, err := listSegments(from)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return 0, fmt.Errorf("copy the store: %w", err)
	}
	paths := append([]string{filepath.Join(from, formatName)}, files.paths...)
	sort.Strings(paths)
	for _, path := range paths {
		n, err := copyFile(ctx, path, filepath.Join(to, filepath.Base(path)))
		if errors.Is(err, os.ErrNotExist) {
			continue // a lost FORMAT; Open finds it in the segments
		}
		if err != nil {
			return bytes, fmt.Errorf("copy the store: %w", err)
		}
		bytes += n
	}
	return bytes, errors.Join(syncDir(to), syncDir(filepath.Dir(to)))
}

// copyFile copies as much of a file as there is when it is opened.
func copyFile(ctx context.Context, from, to string) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close() //nolint:errcheck // only read from
	info, err := in.Stat()
	if err != nil {
		return 0, err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(out, untilDone{ctx, io.LimitReader(in, info.Size())})
	if err == nil {
		err = out.Sync()
	}
	return n, errors.Join(err, out.Close())
}

// untilDone is a reader that ends with a context.
type untilDone struct {
	ctx context.Context
	io.Reader
}

// Read implements io.Reader.
func (r untilDone) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
