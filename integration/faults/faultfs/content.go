package faultfs

import "bytes"

const (
	page  = 4096 // what is synced, or forgotten after a failed sync
	block = 512  // what a disk writes at once
)

// content is the bytes of a file, as they are read and as they are on the disk.
type content struct {
	data  []byte
	disk  []byte
	dirty map[int64]bool // pages that an fsync has to write
	cut   bool           // the size on the disk is another one
}

func newContent(data []byte) content {
	return content{data: bytes.Clone(data), disk: bytes.Clone(data), dirty: map[int64]bool{}}
}

func (c *content) write(b []byte, at int64) {
	end := at + int64(len(b))
	from := min(at, int64(len(c.data))) // a hole is dirty too
	if end > int64(len(c.data)) {
		c.resize(end)
	}
	copy(c.data[at:], b)
	for p := from / page; p*page < end; p++ {
		c.dirty[p] = true
	}
}

func (c *content) resize(size int64) {
	c.cut = true
	if size <= int64(len(c.data)) {
		clear(c.data[size:])
		c.data = c.data[:size]
		return
	}
	c.data = append(c.data, make([]byte, size-int64(len(c.data)))...)
}

// sync writes what is dirty to the disk.
func (c *content) sync() {
	c.disk = fit(c.disk, len(c.data))
	for p := range c.dirty {
		if at := p * page; at < int64(len(c.data)) {
			end := min(at+page, int64(len(c.data)))
			copy(c.disk[at:end], c.data[at:end])
		}
	}
	c.forget()
}

// forget takes everything for written, as Linux does after an fsync that failed.
func (c *content) forget() {
	clear(c.dirty)
	c.cut = false
}

// after is what a power cut leaves: what is on the disk, and of what is dirty the blocks that keep chooses.
func (c *content) after(keep func() bool) []byte {
	b := bytes.Clone(c.disk)
	if c.cut && keep() {
		b = fit(b, len(c.data))
	}
	for p := range c.dirty {
		for at := p * page; at < min((p+1)*page, int64(len(c.data))); at += block {
			if !keep() {
				continue
			}
			end := min(at+block, int64(len(c.data)))
			if int64(len(b)) < end {
				b = fit(b, int(end))
			}
			copy(b[at:end], c.data[at:end])
		}
	}
	return b
}

// fit cuts b to size, or fills it up with zeros.
func fit(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size]
	}
	return append(b, make([]byte, size-len(b))...)
}
