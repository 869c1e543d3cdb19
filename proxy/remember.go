package proxy

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// idSize is how many bytes a made id adds to a request at most, with its tag and the longer length of what holds it.
const idSize = 64

// remember serves Remember: journaled as it came, durable, then answered.
func (s *Server) remember(ctx context.Context, request Frame) (any, error) {
	record, err := s.rememberRecord(request)
	if err != nil {
		return nil, err
	}
	if err := s.write(ctx, &record); err != nil {
		return nil, err
	}
	return remembered(record.ID), nil
}

// experience serves Experience in the same way.
func (s *Server) experience(ctx context.Context, request Frame) (any, error) {
	record, err := s.experienceRecord(request)
	if err != nil {
		return nil, err
	}
	if err := s.write(ctx, &record); err != nil {
		return nil, err
	}
	return &pb.ExperienceResponse{EpisodeId: string(record.ID), State: pb.ConsolidationState_CONSOLIDATION_STATE_RECENT}, nil
}

func remembered(id []byte) *pb.RememberResponse {
	return &pb.RememberResponse{MemoryId: string(id), InitialState: pb.ConsolidationState_CONSOLIDATION_STATE_RECENT}
}

// rememberRecord judges a RememberRequest and makes the record of it. The error is INVALID_ARGUMENT.
func (s *Server) rememberRecord(request Frame) (wal.Record, error) {
	var m envelope.Remember
	if err := envelope.ScanRemember(request, &m); err != nil {
		return wal.Record{}, s.invalid(err)
	}
	record, err := s.writeRecord(wal.FormRemember, m.Space, m.Body, m.ID, request)
	if err == nil && len(record.ID) == 0 {
		record.ID = newID()
		record.Payload = envelope.WithRememberID(make([]byte, 0, len(request)+idSize), &m, record.ID)
	}
	return record, err
}

// experienceRecord does the same for an ExperienceRequest.
func (s *Server) experienceRecord(request Frame) (wal.Record, error) {
	var x envelope.Experience
	if err := envelope.ScanExperience(request, &x); err != nil {
		return wal.Record{}, s.invalid(err)
	}
	record, err := s.writeRecord(wal.FormExperience, x.Space, x.Body, x.ID, request)
	if err == nil && len(record.ID) == 0 {
		record.ID = newID()
		record.Payload = envelope.WithExperienceID(make([]byte, 0, len(request)+idSize), &x, record.ID)
	}
	return record, err
}

// writeRecord makes the record of a write that belongs to no session; id may be empty.
func (s *Server) writeRecord(form wal.Form, space, body, id, request []byte) (wal.Record, error) {
	if len(body) > s.bounds().MaxEpisodeBytes {
		return wal.Record{}, s.invalid(&sizeError{field: form.String(), limit: s.bounds().MaxEpisodeBytes, got: len(body)})
	}
	name, err := s.spaceOf(space)
	if err != nil {
		return wal.Record{}, s.invalid(err)
	}
	return wal.Record{
		Kind: wal.KindWrite, Form: form, Lane: wal.LaneNormal, Space: name, ID: id[:len(id):len(id)], Payload: request,
	}, nil
}

func newID() []byte { return []byte(uuid.NewString()) }

func (s *Server) invalid(err error) error {
	s.observer.Refused(reasonOf(err))
	return status.Error(codes.InvalidArgument, err.Error())
}

// laneFull refuses a write without a session, all of which are of one lane, when that is full. A lane without a limit is
// asked once: limits do not change while the sidecar runs.
func (s *Server) laneFull(lane wal.Lane) error {
	if s.unlimited.Load() {
		return nil
	}
	load := s.deps.Lanes.Load(lane)
	if load.Limit == 0 {
		s.unlimited.Store(true)
	}
	if load.full() {
		return &laneFullError{lane, load}
	}
	return nil
}

// write makes one record durable, or finds it pending already. The error is what the call ends with.
func (s *Server) write(ctx context.Context, r *wal.Record) error {
	if err := s.laneFull(r.Lane); err != nil {
		return s.statusOfCall(err, r.Lane)
	}
	arrived := time.Now()
	if err := s.writeOnce(ctx, r); err != nil {
		return s.statusOfCall(err, r.Lane)
	}
	s.observer.Acked(1, time.Since(arrived))
	return nil
}
