package ledger

import (
	"errors"
	"fmt"
	"os"

	"github.com/hashicorp/go-hclog"
)

// errUnread stands for a file that is there and is left alone. To a Builder it is one that is not there.
var errUnread = fmt.Errorf("the ledger was not read, its sidecar is running: %w", os.ErrNotExist)

// Unread begins to build, for a look and never for Build, from the journal alone: a running sidecar has the file. What only
// the file tells, such as what was delivered of a generation that is not released yet, counts as pending.
func Unread(journal [16]byte) *Builder {
	return &Builder{
		x: newIndex(nil), journal: journal, log: hclog.NewNullLogger(), lost: errUnread,
		late: map[uint64][]uint64{}, damaged: map[uint64]bool{}, missed: map[uint64]bool{},
	}
}

// WasUnread says that Lost only tells that the file was left alone.
func (b *Builder) WasUnread() bool { return errors.Is(b.lost, errUnread) }

// Sessions lists the sessions that can be resumed so far, and those closed not long ago.
func (b *Builder) Sessions() []Session {
	out := make([]Session, 0, len(b.x.sessions))
	for _, s := range b.x.sessions {
		out = append(out, s.Session)
	}
	return out
}
