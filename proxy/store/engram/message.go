package engram

import (
	"fmt"

	"google.golang.org/grpc/mem"

	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// message is one write as it will travel: a RememberRequest that is either there already or still to be put around an
// episode.
type message struct {
	space   string
	episode []byte // the request is {space, episode}
	whole   []byte // the request itself, where episode is nil
}

// newMessage says how r will travel. An error means that no server could take it: the journal holds only what the edge
// has scanned, so it never happens unless one of them is broken.
func newMessage(r *wal.Record) (message, error) {
	payload := deliver(r)
	switch r.Form {
	case wal.FormEpisode:
		return message{space: r.Space, episode: payload}, nil
	case wal.FormRemember:
		var m envelope.Remember
		if err := envelope.ScanRemember(payload, &m); err != nil {
			return message{}, fmt.Errorf("record %d is not a RememberRequest: %w", r.Index, err)
		}
		if string(m.Space) != r.Space {
			payload = envelope.SetRememberSpace(make([]byte, 0, len(payload)+len(r.Space)+4), payload, r.Space)
		}
		return message{whole: payload}, nil
	case wal.FormExperience:
		var x envelope.Experience
		if err := envelope.ScanExperience(payload, &x); err != nil {
			return message{}, fmt.Errorf("record %d is not an ExperienceRequest: %w", r.Index, err)
		}
		return message{space: r.Space, episode: x.Body}, nil
	default:
		return message{}, fmt.Errorf("record %d holds %v: expected an Episode, a RememberRequest or an ExperienceRequest",
			r.Index, r.Form)
	}
}

// checkEpisode scans what newMessage did not, because the edge had. It is asked for only when a server has refused r.
func checkEpisode(r *wal.Record) error {
	if r.Form != wal.FormEpisode {
		return nil
	}
	var e envelope.Episode
	if err := envelope.ScanEpisode(r.Payload, &e); err != nil {
		return fmt.Errorf("record %d is not an Episode: %w", r.Index, err)
	}
	return nil
}

// encode leaves the episode where it is: nobody changes a record's bytes, and grpc may hold on to them when Put has returned.
func (m *message) encode() mem.BufferSlice {
	if m.episode == nil {
		return mem.BufferSlice{mem.SliceBuffer(m.whole)}
	}
	const aroundEpisode = 16 // two tags and two lengths
	head := envelope.EncodeRememberHead(make([]byte, 0, len(m.space)+aroundEpisode), m.space, len(m.episode))
	return mem.BufferSlice{mem.SliceBuffer(head), mem.SliceBuffer(m.episode)}
}

// raw is a message that is already serialized, or will stay so.
type raw []byte

// codec hands messages over as they are. On the wire it is the codec of protobuf.
type codec struct{}

// Name implements encoding.CodecV2.
func (codec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *message:
		return v.encode(), nil
	case raw:
		return mem.BufferSlice{mem.SliceBuffer(v)}, nil
	case *[]byte: // of a call that is passed through
		return mem.BufferSlice{mem.SliceBuffer(*v)}, nil
	default:
		return nil, fmt.Errorf("engram: cannot send a %T", v)
	}
}

// Unmarshal implements encoding.CodecV2. A nil *raw reads an answer of which only the arrival matters.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch answer := v.(type) {
	case *raw:
		if answer != nil {
			*answer = data.Materialize() //nolint:misspell // grpc's own name
		}
	case *[]byte: // of a call that is passed through
		*answer = data.Materialize() //nolint:misspell // grpc's own name
	default:
		return fmt.Errorf("engram: cannot receive into a %T", v)
	}
	return nil
}
