package proxy

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// Upstream is the store, where that is itself a server of engram.v1.EngramService.
type Upstream interface {
	// Pass opens a call of any method, known or not, unary or streaming, that ends with ctx. The metadata that goes out with
	// ctx and its deadline go along; the upstream's own credentials are added there. What is sent and received on it is a
	// *[]byte, the message in its wire bytes. The error is a status.
	Pass(ctx context.Context, method string) (grpc.ClientStream, error)
}

// unserved gets every method that is not served here, known to the protocol or not: it passes on what an Engram server may
// serve, and refuses the rest by name.
func (s *Server) unserved(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	if !strings.HasPrefix(method, "/"+pb.EngramService_ServiceDesc.ServiceName+"/") {
		return status.Errorf(codes.Unimplemented, "%s is not served here: expected a method of %s, of health or of reflection",
			method, pb.EngramService_ServiceDesc.ServiceName)
	}
	if s.deps.Upstream == nil {
		return status.Errorf(codes.Unimplemented, "%s is not served over the %s store: it is a method of the Engram server's "+
			"own, served where the sidecar's store is one (--store engram://host:port)", method, s.deps.Store.Capabilities().Name)
	}
	return s.pass(method, stream)
}

// keptHere is the metadata that is not passed on: by which a client shows the sidecar who it is, and what concerns the
// connection to the sidecar alone. The upstream is shown its own credentials, by its store.
var keptHere = []string{
	"authorization", "proxy-authorization", "cookie",
	":authority", "host", "user-agent", "content-type", "te", "grpc-accept-encoding",
}

// passedOn is the metadata of a call that goes on to the upstream.
func passedOn(ctx context.Context) metadata.MD {
	md, _ := metadata.FromIncomingContext(ctx) // a copy
	for _, key := range keptHere {
		md.Delete(key)
	}
	return md
}

// passing is one call on its way through. Its messages are not looked at, and one each way is held at a time: whichever side
// does not read slows the other down, and nobody else, for the upstream is spoken to on a connection of its own.
type passing struct {
	s      *Server
	method string
	client grpc.ServerStream
	server grpc.ClientStream
	ended  chan error // cap 1: how the call ends
}

// pass takes one call through. It is the supervisor: it waits for either side to end the call, and a handler that has
// returned ends both.
func (s *Server) pass(method string, client grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(client.Context(), passedOn(client.Context())))
	defer cancel()
	server, err := s.deps.Upstream.Pass(ctx, method)
	if err != nil {
		return err
	}
	p := &passing{s: s, method: method, client: client, server: server, ended: make(chan error, 1)}
	s.streams.Go(p.toServer) // both end when this handler has returned; Run waits for them
	s.streams.Go(p.toClient)
	select {
	case err := <-p.ended:
		return err
	case <-client.Context().Done():
		return status.FromContextError(client.Context().Err()).Err()
	case <-s.stopping:
	}
	if streams(method) {
		return errStoppingCall()
	}
	late := time.NewTimer(s.cfg.Grace / 2)
	defer late.Stop()
	select {
	case err := <-p.ended:
		return err
	case <-client.Context().Done():
		return status.FromContextError(client.Context().Err()).Err()
	case <-late.C:
		return errStoppingCall()
	}
}

// streams says whether a method is known to be one that may go on for ever.
func streams(method string) bool {
	for _, known := range pb.EngramService_ServiceDesc.Streams {
		if strings.HasSuffix(method, "/"+known.StreamName) {
			return true
		}
	}
	return false
}

// end says how the call ends. The first one counts.
func (p *passing) end(err error) {
	select {
	case p.ended <- err:
	default:
	}
}

// toServer passes on what the client sends, and that it sends no more.
func (p *passing) toServer() {
	defer p.s.caught(p.method, p.end)
	for {
		var frame Frame // a new one each time: it is on its way until the transport has written it
		switch err := p.client.RecvMsg(&frame); {
		case errors.Is(err, io.EOF):
			if err := p.server.CloseSend(); err != nil {
				p.end(err)
			}
			return
		case err != nil:
			if status.Code(err) == codes.ResourceExhausted { // gRPC has refused a message above max-message-bytes
				p.s.observer.Refused(ReasonTooLarge)
			}
			p.end(err)
			return
		}
		if err := p.server.SendMsg((*[]byte)(&frame)); err != nil {
			if !errors.Is(err, io.EOF) { // which says that the call is over; toClient learns how
				p.end(err)
			}
			return
		}
	}
}

// toClient passes on what the upstream answers: headers, messages, trailers, status.
func (p *passing) toClient() {
	defer p.s.caught(p.method, p.end)
	header, err := p.server.Header()
	if err == nil && header != nil { // else it ended without any
		err = p.client.SendHeader(header)
	}
	for err == nil {
		var frame Frame
		if err = p.server.RecvMsg((*[]byte)(&frame)); err == nil {
			err = p.client.SendMsg(&frame)
		}
	}
	p.client.SetTrailer(p.server.Trailer())
	if errors.Is(err, io.EOF) {
		err = nil
	}
	p.end(err)
}
