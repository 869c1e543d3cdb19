package embedded

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// errFault means that the operating system could not give us bytes of a mapped file: the disk failed, or someone cut it.
var errFault = errors.New("the file could not be read where it is mapped")

// guard runs fn so that a fault in mapped memory, which would otherwise end the process, and a panic of bbolt over pages
// that make no sense become an error. Panicked tells the two from an error that fn returned: what fn worked on holds its
// locks still, and must not be used again.
func guard(fn func() error) (panicked bool, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		e := recover()
		switch {
		case e == nil:
			return
		case isFault(e):
			err = fmt.Errorf("%w: %v", errFault, e)
		default:
			err = fmt.Errorf("%w: %v", errIndex, e)
		}
		panicked = true
	}()
	return false, fn()
}

// isFault says that a recovered value stands for a fault in mapped memory, and not for a mistake in a program.
func isFault(recovered any) bool {
	err, ok := recovered.(runtime.Error)
	if !ok {
		return false
	}
	_, ok = err.(interface{ Addr() uintptr })
	return ok
}
