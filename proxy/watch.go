package proxy

import (
	"context"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// endWatch lets a health watch end at a stop, once its client has been told that nothing is served any more: gRPC's own
// never ends, and a graceful stop would wait for it.
func (s *Server) endWatch(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if info.FullMethod != grpc_health_v1.Health_Watch_FullMethodName {
		return next(srv, stream)
	}
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	w := &watch{ServerStream: stream, ctx: ctx, cancel: cancel, stopping: s.stopping}
	s.streams.Go(w.await) // ends when this handler has returned; Run waits for it
	err := next(srv, w)
	if isClosed(s.stopping) {
		return errStoppingCall()
	}
	return err
}

// watch is the stream of one health watch.
type watch struct {
	grpc.ServerStream
	ctx      context.Context //nolint:containedctx // it takes the place of the stream's own
	cancel   context.CancelFunc
	stopping <-chan struct{}
	serving  atomic.Bool // what the client was told last
}

// Context implements grpc.ServerStream.
func (w *watch) Context() context.Context { return w.ctx }

// SendMsg implements grpc.ServerStream.
func (w *watch) SendMsg(m any) error {
	err := w.ServerStream.SendMsg(m)
	health, ok := m.(*grpc_health_v1.HealthCheckResponse)
	w.serving.Store(ok && health.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING)
	if isClosed(w.stopping) && !w.serving.Load() {
		w.cancel()
	}
	return err
}

// await ends the watch at a stop, unless there is something to tell first: SendMsg ends it then.
func (w *watch) await() {
	select {
	case <-w.stopping:
		if !w.serving.Load() {
			w.cancel()
		}
	case <-w.ctx.Done():
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
