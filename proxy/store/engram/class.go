package engram

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/engram-sidecar/engram-sidecar/proxy/store"
)

// Why an exchange with the server ended without a status of its own.
var (
	errGaveUp = errors.New("gave up") // wraps the reason: one of the next two, or the caller's
	errSilent = errors.New("no answer in time: what was sent may be stored or not, it will be sent again")
	errClosed = errors.New("the store is closed")

	errEnded = errors.New("the server ended the stream before it had answered everything")
	errExtra = errors.New("the server answered more than it was asked: is it an Engram server?")
)

// classify marks err, which came from the server or from the way to it, with what should happen next. That the store was
// closed comes before what grpc makes of it.
func (s *Store) classify(err error) error {
	if err == nil {
		return nil
	}
	select {
	case <-s.closed:
		err = gaveUp(errClosed)
	default:
	}
	err = fmt.Errorf("engram at %s: %w", s.cfg.Address, err)
	switch status.Code(err) {
	case codes.InvalidArgument, codes.OutOfRange:
		return store.Permanent(err)
	case codes.Unauthenticated, codes.PermissionDenied, codes.Unimplemented, codes.NotFound:
		return store.Denied(err)
	case codes.Unavailable, codes.DeadlineExceeded:
		return store.Unavailable(err)
	}
	if errors.Is(err, errGaveUp) || errors.Is(err, errEnded) || errors.Is(err, errExtra) {
		return store.Unavailable(err)
	}
	return err
}

// because returns why ctx ended, where it has; otherwise err, which a call under ctx gave.
func because(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		return err
	}
	return gaveUp(context.Cause(ctx))
}

func gaveUp(cause error) error { return fmt.Errorf("%w: %w", errGaveUp, cause) }
