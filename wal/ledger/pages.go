package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// A start reads the file by itself, not through bbolt: of a damaged page bbolt believes every length and every offset, and a
// single flipped bit can make it hand out a pointer into memory that is free, upon which the runtime ends the process, every
// time it is started. Here every bound is checked. What is read whole, bbolt can then write.
//
//	meta page   page header, magic 4, version 4, page size 4, flags 4, root 8, sequence 8, free list 8, end 8, transaction 8,
//	            checksum 8 (FNV-1a over the meta before it)
//	page header id 8, flags 2, count 2, further pages 4
//	branch      header, count × (position 4, key size 4, page 8), keys
//	leaf        header, count × (flags 4, position 4, key size 4, value size 4), keys and values
//	free list   header, count × id 8; where count is 0xffff the first id is the count
//	bucket      a leaf's value: root 8, sequence 8, and where root is 0 the bucket's one page
//
// Numbers are little endian, a position counts from its own element.
const (
	pageHeader  = 16
	pageElement = 16
	bucketValue = 16

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreeList = 0x10
	flagBucket   = 0x01 // of a leaf's element

	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaSize    = 64
	metaSum     = 56

	maxDepth = 32 // of the tree; more is a loop
)

// pages reads the pages of a file, each at most once.
type pages struct {
	f    io.ReaderAt
	size uint64 // of a page
	end  uint64 // page behind the last
	seen map[uint64]bool

	buckets map[string][]byte
}

// meta is the newest state that a file names.
type meta struct{ size, root, free, end, transaction uint64 }

// openPages reads what buckets there are, and which pages are free. The error wraps ErrDamaged.
func openPages(f io.ReaderAt, fileSize int64) (*pages, error) {
	m, err := readMeta(f)
	if err != nil {
		return nil, err
	}
	if m.end > uint64(fileSize)/m.size {
		return nil, fmt.Errorf("%w: %d bytes are too few for %d pages", ErrDamaged, fileSize, m.end)
	}
	p := &pages{f: f, size: m.size, end: m.end, seen: map[uint64]bool{}, buckets: map[string][]byte{}}
	free, err := p.freeList(m.free)
	if err != nil {
		return nil, err
	}
	for id := range free {
		p.seen[id] = true // so that none of them is found in use
	}
	root := walk{pages: p, visit: func(flags uint32, name, value []byte) error {
		if flags != flagBucket {
			return fmt.Errorf("%w: %x is no bucket", ErrDamaged, name)
		}
		p.buckets[string(name)] = value
		return nil
	}}
	return p, root.tree(m.root, 0, nil)
}

// readMeta reads the two metas, of the last transaction and of the one before it. Where one is not valid bbolt falls back on
// the other. After a torn write that would do. After rot it would be the state before the last flush, upon which generations
// were released and tombs dropped: such a file counts as damaged.
func readMeta(f io.ReaderAt) (newest meta, err error) {
	var metas [2]meta
	for i := range metas {
		b := make([]byte, pageHeader+metaSize)
		if err := readAt(f, b, uint64(i)*metas[0].size); err != nil {
			return newest, err
		}
		le := binary.LittleEndian
		id, b := le.Uint64(b), b[pageHeader:]
		metas[i] = meta{
			size: uint64(le.Uint32(b[8:])), root: le.Uint64(b[16:]), free: le.Uint64(b[32:]), end: le.Uint64(b[40:]),
			transaction: le.Uint64(b[48:]),
		}
		sum := fnv.New64a()
		_, _ = sum.Write(b[:metaSum])
		if le.Uint32(b) != metaMagic || le.Uint32(b[4:]) != metaVersion || sum.Sum64() != le.Uint64(b[metaSum:]) ||
			id != uint64(i) || metas[i].transaction%2 != id || metas[i].size < 512 || metas[i].size > 1<<16 {
			return newest, fmt.Errorf("%w: meta page %d is not valid", ErrDamaged, i)
		}
	}
	newest = metas[0]
	if metas[1].transaction > newest.transaction {
		newest = metas[1]
	}
	if metas[0].transaction+metas[1].transaction != 2*newest.transaction-1 {
		return newest, fmt.Errorf("%w: metas of transactions %d and %d", ErrDamaged, metas[0].transaction, metas[1].transaction)
	}
	return newest, nil
}

// readAt fills b from an offset. A file that ends before, or that the disk cannot read, is damaged.
func readAt(f io.ReaderAt, b []byte, at uint64) error {
	if _, err := f.ReadAt(b, int64(at)); err != nil {
		return fmt.Errorf("%w: %d bytes at offset %d: %w", ErrDamaged, len(b), at, err)
	}
	return nil
}

// page reads a page with those that continue it.
func (p *pages) page(id uint64, want ...uint16) (b []byte, flags uint16, err error) {
	head := make([]byte, pageHeader)
	if id < 2 || id >= p.end {
		return nil, 0, fmt.Errorf("%w: page %d of %d", ErrDamaged, id, p.end)
	}
	if err := readAt(p.f, head, id*p.size); err != nil {
		return nil, 0, err
	}
	flags = binary.LittleEndian.Uint16(head[8:])
	more := uint64(binary.LittleEndian.Uint32(head[12:]))
	if binary.LittleEndian.Uint64(head) != id || id+more >= p.end {
		return nil, 0, fmt.Errorf("%w: page %d says that it is %d with %d more of %d", ErrDamaged, id, binary.LittleEndian.Uint64(head), more, p.end)
	}
	for i := id; i <= id+more; i++ {
		if p.seen[i] {
			return nil, 0, fmt.Errorf("%w: page %d is used twice", ErrDamaged, i)
		}
		p.seen[i] = true
	}
	for _, f := range want {
		if flags == f {
			b = make([]byte, (more+1)*p.size)
			return b, flags, readAt(p.f, b, id*p.size)
		}
	}
	return nil, 0, fmt.Errorf("%w: page %d has flags %x", ErrDamaged, id, flags)
}

// each visits what a bucket holds, ascending by key. The error is visit's, or wraps ErrDamaged.
func (p *pages) each(bucket []byte, visit func(key, value []byte) error) error {
	value := p.buckets[string(bucket)]
	if len(value) < bucketValue {
		return fmt.Errorf("%w: it has no %s bucket", ErrDamaged, bucket)
	}
	w := walk{pages: p, visit: func(flags uint32, key, value []byte) error {
		if flags != 0 {
			return fmt.Errorf("%w: key %x has flags %x", ErrDamaged, key, flags)
		}
		return visit(key, value)
	}}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return w.tree(root, 0, nil)
	}
	inline := value[bucketValue:]
	if len(inline) < pageHeader || binary.LittleEndian.Uint16(inline[8:]) != flagLeaf {
		return fmt.Errorf("%w: bucket %s without its page", ErrDamaged, bucket)
	}
	return w.leaf(inline, nil)
}

// walk goes through the tree of one bucket. bbolt finds a key by the order of all of them, so that is looked at too.
type walk struct {
	*pages
	last  []byte // the key before, nil at the first
	visit func(flags uint32, key, value []byte) error
}

func (w *walk) tree(id uint64, depth int, least []byte) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: more than %d pages deep", ErrDamaged, maxDepth)
	}
	b, flags, err := w.page(id, flagBranch, flagLeaf)
	if err != nil {
		return err
	}
	if flags == flagLeaf {
		return w.leaf(b, least)
	}
	return elements(b, func(at uint64, e []byte) error {
		key, _, err := slice(b, at+uint64(binary.LittleEndian.Uint32(e)), binary.LittleEndian.Uint32(e[4:]))
		if err != nil {
			return err
		}
		if w.last != nil && bytes.Compare(w.last, key) >= 0 {
			return fmt.Errorf("%w: page %d leads from key %x to %x", ErrDamaged, id, w.last, key)
		}
		return w.tree(binary.LittleEndian.Uint64(e[8:]), depth+1, key)
	})
}

func (w *walk) leaf(b, least []byte) error {
	return elements(b, func(at uint64, e []byte) error {
		le := binary.LittleEndian
		key, end, err := slice(b, at+uint64(le.Uint32(e[4:])), le.Uint32(e[8:]))
		if err != nil {
			return err
		}
		value, _, err := slice(b, end, le.Uint32(e[12:]))
		if err != nil {
			return err
		}
		if bytes.Compare(key, least) < 0 || (w.last != nil && bytes.Compare(w.last, key) >= 0) {
			return fmt.Errorf("%w: key %x stands behind %x and %x", ErrDamaged, key, w.last, least)
		}
		w.last = key
		return w.visit(le.Uint32(e), key, value)
	})
}

// elements visits the elements of a branch or a leaf, each with its offset in the page.
func elements(b []byte, visit func(at uint64, element []byte) error) error {
	for i := range uint64(binary.LittleEndian.Uint16(b[10:])) {
		at := pageHeader + i*pageElement
		e, _, err := slice(b, at, pageElement)
		if err == nil {
			err = visit(at, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// slice is length bytes of a page, and the offset behind them.
func slice(b []byte, at uint64, length uint32) ([]byte, uint64, error) {
	end := at + uint64(length)
	if end > uint64(len(b)) {
		return nil, 0, fmt.Errorf("%w: bytes %d to %d of a page of %d", ErrDamaged, at, end, len(b))
	}
	return b[at:end:end], end, nil
}

// freeList reads which pages are free: what is in use and among them would be written over.
func (p *pages) freeList(id uint64) (map[uint64]bool, error) {
	b, _, err := p.page(id, flagFreeList)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	n, ids := uint64(le.Uint16(b[10:])), b[pageHeader:]
	if n == 0xffff {
		n, ids = le.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids))/8 {
		return nil, fmt.Errorf("%w: %d free pages in a list of %d bytes", ErrDamaged, n, len(ids))
	}
	free := map[uint64]bool{}
	for i := range n {
		page := le.Uint64(ids[8*i:])
		if page < 2 || page >= p.end || p.seen[page] || free[page] {
			return nil, fmt.Errorf("%w: page %d of %d is free twice, or in use", ErrDamaged, page, p.end)
		}
		free[page] = true
	}
	return free, nil
}
