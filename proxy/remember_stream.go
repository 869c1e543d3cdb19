package proxy

import (
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/engram-sidecar/engram-sidecar/wal"
)

// remembering is one StreamingRemember: durable as Remember is, many under way at once, answered in the order of the
// requests. It has no in-band refusals: the first request that is refused ends the stream, once those before it are
// answered.
type remembering struct {
	pipe
	frame Frame
}

// streamingRemember serves StreamingRemember: it is the supervisor, and starts the receiver.
func (s *Server) streamingRemember(_ any, stream grpc.ServerStream) error {
	r := &remembering{}
	r.prepare(s, stream, "StreamingRemember", r)
	r.sessionless = true
	s.streams.Go(r.receiveAll) // ends when this handler has returned; Run waits for it
	select {
	case <-r.ending:
	case <-stream.Context().Done():
		r.end(stream.Context().Err(), false)
	case <-s.stopping:
		r.end(errStoppingCall(), true)
	}
	_, result := r.finish(nil)
	return result
}

// receiveAll is the receiver.
func (r *remembering) receiveAll() {
	defer r.s.caught(r.method, func(err error) { r.end(err, false) })
	for r.receive(&r.frame) {
		if err := r.take(time.Now().UnixNano()); err != nil {
			r.end(err, true)
			return
		}
	}
}

// take brings one request into the journal. The error ends the stream.
func (r *remembering) take(arrived int64) error {
	record, err := r.s.rememberRecord(r.frame)
	if err != nil {
		return err
	}
	if err := r.s.laneFull(record.Lane); err != nil {
		return r.s.statusOfCall(err, record.Lane)
	}
	switch err := r.accept(&record, arrived); {
	case err == nil:
		return nil
	case errors.Is(err, wal.ErrRefused):
		r.learn() // ends the stream with the reason
		return err
	default:
		return r.s.statusOfCall(err, record.Lane)
	}
}

// accept appends the record. The error is the journal's.
func (r *remembering) accept(record *wal.Record, arrived int64) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.stopped {
		return wal.ErrClosed
	}
	return r.appendOnce(record, answer{arrived: arrived})
}

// accepted, durable, rollBack and appendAnswer make it the owner of its pipe.
func (r *remembering) accepted(uint64) {}

func (r *remembering) durable(uint64) {}

func (r *remembering) rollBack(reason error) error { return r.s.statusOfCall(reason, wal.LaneNormal) }

func (r *remembering) appendAnswer(dst []byte, _ *answer, text []byte) []byte {
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, remembered(text))
	if err != nil { // the scan has seen that the id is UTF-8, the only thing that can be wrong
		panic(err)
	}
	return out
}
