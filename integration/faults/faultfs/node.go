package faultfs

import (
	"context"
	"maps"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node is a file or a directory, guarded by FS.mu. go-fuse keeps the tree that the kernel sees; kids and disk are what it
// would be after the last call, and after a power cut.
type node struct {
	fs.Inode
	fs *FS

	content                  // of a file
	kids    map[string]*node // of a directory
	onDisk  map[string]*node // the names of a directory that were synced
}

var (
	_ fs.NodeOnAdder   = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeFlusher   = (*node)(nil)
	_ fs.NodeAllocater = (*node)(nil)
	_ fs.NodeStatfser  = (*node)(nil)
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
)

// plant makes the tree of an image.
func (f *FS) plant(img *Image) *node {
	n := &node{fs: f}
	if img.Kids == nil {
		n.content = newContent(img.Data)
		return n
	}
	n.kids = map[string]*node{}
	for name, kid := range img.Kids {
		n.kids[name] = f.plant(kid)
	}
	n.onDisk = maps.Clone(n.kids)
	return n
}

func (n *node) isDir() bool { return n.kids != nil }

func (n *node) mode() uint32 {
	if n.isDir() {
		return fuse.S_IFDIR | 0o700
	}
	return fuse.S_IFREG | 0o600
}

func (n *node) below() string { return n.Path(nil) }

// OnAdd makes the kernel's tree of what was planted.
func (n *node) OnAdd(ctx context.Context) {
	for name, kid := range n.kids {
		n.AddChild(name, n.NewPersistentInode(ctx, kid, fs.StableAttr{Mode: kid.mode()}), true)
	}
}

// image is what a power cut leaves of n. FS.mu is held.
func (n *node) image(keep func() bool) *Image {
	if !n.isDir() {
		return &Image{Data: n.after(keep)}
	}
	img := &Image{Kids: map[string]*Image{}}
	names := slices.Collect(maps.Keys(n.onDisk))
	for name := range n.kids {
		if n.onDisk[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names) // keep is asked in the same order each time
	for _, name := range names {
		kid := n.onDisk[name]
		if kid != n.kids[name] && keep() {
			kid = n.kids[name]
		}
		if kid != nil {
			img.Kids[name] = kid.image(keep)
		}
	}
	return img
}

// Getattr implements fs.NodeGetattrer.
func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	n.describe(&out.Attr)
	return 0
}

func (n *node) describe(out *fuse.Attr) {
	out.Mode, out.Size, out.Nlink = n.mode(), uint64(len(n.data)), 1
	out.Blksize, out.Blocks = page, (out.Size+511)/512
}

// Setattr implements fs.NodeSetattrer: it is how a file is truncated.
func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	path := n.below()
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if size, ok := in.GetSize(); ok && size != uint64(len(n.data)) {
		if errno := n.fs.check(Truncate, path); errno != 0 {
			return errno
		}
		n.resize(int64(size))
	}
	n.describe(&out.Attr)
	return 0
}

// Open implements fs.NodeOpener.
func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read implements fs.NodeReader.
func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if off >= int64(len(n.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, n.data[off:])]), 0
}

// Write implements fs.NodeWriter.
func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	path := n.below()
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if errno := n.fs.check(Write, path); errno != 0 {
		return 0, errno
	}
	n.write(data, off)
	return uint32(len(data)), 0
}

// Fsync implements fs.NodeFsyncer, for files and directories.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	path, op := n.below(), Fsync
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if n.isDir() {
		op = Fsyncdir
	}
	errno := n.fs.check(op, path)
	switch {
	case n.isDir() && errno == 0:
		n.onDisk = maps.Clone(n.kids)
	case n.isDir():
	case errno == 0:
		n.sync()
	default:
		n.forget()
	}
	return errno
}

// Flush implements fs.NodeFlusher: closing a file syncs nothing.
func (n *node) Flush(context.Context, fs.FileHandle) syscall.Errno { return 0 }

// Allocate implements fs.NodeAllocater: there is always room.
func (n *node) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	const keepSize = 1
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if end := int64(off + size); mode&keepSize == 0 && end > int64(len(n.data)) {
		n.resize(end)
	}
	return 0
}

// Statfs implements fs.NodeStatfser: what Mount was told.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.NameLen = page, page, 255
	out.Blocks, out.Bfree, out.Bavail = n.fs.room.Total/page, n.fs.room.Free/page, n.fs.room.Free/page
	out.Files, out.Ffree = 1<<20, 1<<20
	return 0
}
