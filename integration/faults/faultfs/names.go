package faultfs

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Create implements fs.NodeCreater.
func (n *node) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	kid, errno := n.grow(ctx, Create, name, &Image{}, out)
	return kid, nil, fuse.FOPEN_KEEP_CACHE, errno
}

// Mkdir implements fs.NodeMkdirer.
func (n *node) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.grow(ctx, Mkdir, name, &Image{Kids: map[string]*Image{}}, out)
}

// grow adds a kid to a directory.
func (n *node) grow(ctx context.Context, op Op, name string, img *Image, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	path := n.join(name)
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if errno := n.fs.check(op, path); errno != 0 {
		return nil, errno
	}
	kid := n.fs.plant(img)
	n.kids[name] = kid
	kid.describe(&out.Attr)
	return n.NewPersistentInode(ctx, kid, fs.StableAttr{Mode: kid.mode()}), 0
}

// Unlink implements fs.NodeUnlinker.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno { return n.prune(Unlink, name) }

// Rmdir implements fs.NodeRmdirer.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno { return n.prune(Rmdir, name) }

func (n *node) prune(op Op, name string) syscall.Errno {
	path := n.join(name)
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if len(n.kids[name].kids) > 0 {
		return syscall.ENOTEMPTY
	}
	if errno := n.fs.check(op, path); errno != 0 {
		return errno
	}
	delete(n.kids, name)
	return 0
}

// Rename implements fs.NodeRenamer. Its flags are not for this file system.
func (n *node) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	target, ok := to.(*node)
	if !ok || flags != 0 {
		return syscall.EINVAL
	}
	path := n.join(name)
	n.fs.mu.Lock()
	defer n.fs.mu.Unlock()
	if errno := n.fs.check(Rename, path); errno != 0 {
		return errno
	}
	target.kids[newName] = n.kids[name]
	delete(n.kids, name)
	return 0
}

func (n *node) join(name string) string {
	if below := n.below(); below != "" {
		return below + "/" + name
	}
	return name
}
