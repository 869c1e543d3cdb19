//go:build !spoil_freed

package buffers

// Loans follows memory that is lent, given back and lent again. In an ordinary build it does nothing, and is nothing.
type Loans struct{}

// Lent is told of memory that is handed out.
func (*Loans) Lent([]byte) {}

// Freed is told of memory that was given back, before it can be lent again.
func (*Loans) Freed([]byte) {}

// Spoil overwrites memory that nobody may read any more, where the build is made for that.
func Spoil([]byte) {}
