package faultfs

import (
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Op is a call of the file system that changes something, or makes a change durable.
type Op string

// The calls that can be made to fail.
const (
	Write    Op = "write"
	Fsync    Op = "fsync"
	Fsyncdir Op = "fsyncdir"
	Create   Op = "create"
	Mkdir    Op = "mkdir"
	Rename   Op = "rename"
	Unlink   Op = "unlink"
	Rmdir    Op = "rmdir"
	Truncate Op = "truncate"
)

// Rule is asked before each call, with the path below the mount as it was when the call came. It returns the error that the
// call fails with, or 0. It is called by one goroutine at a time and must not call the FS.
type Rule func(op Op, path string) syscall.Errno

// Room is what the file system says of its size, in bytes. It takes everything all the same.
type Room struct{ Total, Free uint64 }

// FS is one mounted file system. Its methods may be called from any goroutine.
type FS struct {
	dir    string
	room   Room
	server *fuse.Server

	mu   sync.Mutex // guards the tree and all that is in it
	root *node
	rule Rule
	cut  *cut // nil: the power is on
}

// cut is a power cut that is to come, or has been.
type cut struct {
	at    func(op Op, path string) bool
	keep  func() bool
	image chan *Image // cap 1
	dark  bool
}

// Mount mounts img, or an empty file system where it is nil, at dir.
func Mount(dir string, img *Image, room Room) (*FS, error) {
	f := &FS{dir: dir, room: room}
	if img == nil {
		img = &Image{Kids: map[string]*Image{}}
	}
	f.root = f.plant(img)
	cached := time.Hour // nobody else changes anything
	server, err := fs.Mount(dir, f.root, &fs.Options{
		EntryTimeout: &cached, AttrTimeout: &cached,
		MountOptions: fuse.MountOptions{FsName: "faultfs", Name: "faultfs", DirectMount: true, DisableXAttrs: true, MaxWrite: 1 << 20},
	})
	if err != nil {
		return nil, fmt.Errorf("mount faultfs at %s: %w", dir, err)
	}
	f.server = server
	return f, nil
}

// Unmount ends the file system; nobody may use it any more.
func (f *FS) Unmount() error {
	var err error
	for range 1000 { // a process that was killed may take a moment to let go
		if err = f.server.Unmount(); err == nil {
			return nil
		}
		<-time.After(5 * time.Millisecond)
	}
	return fmt.Errorf("unmount %s: %w", f.dir, err)
}

// SetRule makes calls fail from now on; nil lets all through.
func (f *FS) SetRule(r Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rule = r
}

// Cut takes the power away at the first call for which at is true: before it does anything. The disk's content then is sent
// on the channel, and this call and every change after it fail with EIO. Both functions are called like a Rule.
func (f *FS) Cut(at func(op Op, path string) bool, keep func() bool) <-chan *Image {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = &cut{at: at, keep: keep, image: make(chan *Image, 1)}
	return f.cut.image
}

// check asks the rule, after the power. FS.mu is held.
func (f *FS) check(op Op, path string) syscall.Errno {
	if c := f.cut; c != nil {
		if !c.dark && c.at(op, path) {
			c.dark = true
			c.image <- f.root.image(c.keep)
		}
		if c.dark {
			return syscall.EIO
		}
	}
	if f.rule == nil {
		return 0
	}
	return f.rule(op, path)
}

// Image is what the disk holds at this moment, if each unsynced block and each unsynced change of a name has reached it
// where keep says so. It is taken at once: no call happens meanwhile.
func (f *FS) Image(keep func() bool) *Image {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.root.image(keep)
}

// Nothing is the strictest disk for Image: what was not synced is not there.
func Nothing() bool { return false }

// Image is a file or a directory on a disk that nobody uses.
type Image struct {
	Data []byte            // of a file
	Kids map[string]*Image // of a directory; nil for a file
}

// WriteTo writes the content of a directory to dir, which must exist.
func (i *Image) WriteTo(dir string) error {
	for name, kid := range i.Kids {
		path := dir + "/" + name
		if kid.Kids == nil {
			if err := os.WriteFile(path, kid.Data, 0o600); err != nil {
				return err
			}
			continue
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			return err
		}
		if err := kid.WriteTo(path); err != nil {
			return err
		}
	}
	return nil
}
