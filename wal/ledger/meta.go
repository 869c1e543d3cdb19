package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The first two pages of a bbolt file are its metas, of the last transaction and of the one before it; where one is not
// valid bbolt falls back on the other. After a torn write that is right. After rot it would be the state before the last
// flush, while generations were released and tombs dropped upon that flush: such a file counts as damaged.
const (
	metaMagic = 0xED0CDAED
	metaStart = 16 // behind the page's header
	metaSize  = 64
	metaSum   = 56 // offset in the meta of its checksum, FNV-1a over all before it
	metaPage  = 8  // offset in the meta of the page size
)

// checkMetas fails where one of the metas of a file is not valid. The error wraps ErrDamaged, or is the file system's.
func checkMetas(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the ledger: %w", err)
	}
	defer f.Close() //nolint:errcheck // read only
	var page uint32
	for i := range int64(2) {
		m := make([]byte, metaSize)
		if _, err := f.ReadAt(m, i*int64(page)+metaStart); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the ledger: %w", err)
		}
		sum := fnv.New64a()
		sum.Write(m[:metaSum])
		if binary.LittleEndian.Uint32(m) != metaMagic || sum.Sum64() != binary.LittleEndian.Uint64(m[metaSum:]) {
			return fmt.Errorf("read the ledger %s: %w: meta page %d is not valid", path, ErrDamaged, i)
		}
		page = binary.LittleEndian.Uint32(m[metaPage:])
	}
	return nil
}
