package envelope

import "fmt"

// BodyKind is which message a RememberRequest holds.
type BodyKind uint8

// The kinds of body. After a scan that succeeded it is one of the last two.
const (
	BodyNone BodyKind = iota
	BodyMemory
	BodyEpisode
)

// String returns the name of the message.
func (k BodyKind) String() string {
	switch k {
	case BodyNone:
		return "no body"
	case BodyMemory:
		return "Memory"
	case BodyEpisode:
		return "Episode"
	default:
		return fmt.Sprintf("body %d", uint8(k))
	}
}

// Remember is a view of an engram.v1.RememberRequest.
type Remember struct {
	Space     []byte // memory_space_id, UTF-8, as it came: see ValidSpace
	Kind      BodyKind
	Body      []byte // the Memory or the Episode
	ID        []byte // at most 256 bytes of UTF-8; empty where the client gave none
	Text      []byte // the memory's content or the episode's what
	Embedding Vector // 768 finite floats

	in place
}

// Experience is a view of an engram.v1.ExperienceRequest.
type Experience struct {
	Space     []byte // memory_space_id, UTF-8, as it came: see ValidSpace
	Body      []byte // the Episode
	ID        []byte // at most 256 bytes of UTF-8; empty where the client gave none
	Text      []byte // the episode's what
	Embedding Vector // 768 finite floats

	in place
}

// place is where the body's field lies in its request, tag included.
type place struct {
	request    []byte
	start, end int
}

// ScanRemember walks a RememberRequest and the memory or episode in it, and fills m with views into b. Errors are those of
// ScanEpisode; on any error, m holds what came before it.
func ScanRemember(b []byte, m *Remember) error {
	*m = Remember{}
	if err := m.scanRequest(b); err != nil {
		return err
	}
	return m.scanBody()
}

func (m *Remember) scanRequest(b []byte) error {
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if err := rememberRules.check(&f, &seen); err != nil {
			return err
		}
		switch f.num {
		case 1:
			m.Space = f.data
		case 2, 3:
			if m.Kind != BodyNone {
				return &FieldError{Field: "memory_type", Expected: "a memory or an episode", Got: "both"}
			}
			m.Kind, m.Body, m.in = BodyKind(f.num-1), f.data, place{b, f.start, f.end} //nolint:gosec // 1 or 2
		}
	}
	return r.err()
}

func (m *Remember) scanBody() (err error) {
	switch m.Kind {
	case BodyMemory:
		var body Memory
		err = ScanMemory(m.Body, &body)
		m.ID, m.Text, m.Embedding = body.ID, body.Content, body.Embedding
	case BodyEpisode:
		var body Episode
		err = ScanEpisode(m.Body, &body)
		m.ID, m.Text, m.Embedding = body.ID, body.What, body.Embedding
	default:
		err = &FieldError{Field: "memory_type", Expected: "a memory or an episode", Got: "neither"}
	}
	return err
}

// ScanExperience walks an ExperienceRequest and the episode in it, and fills x with views into b. Errors are those of
// ScanEpisode; on any error, x holds what came before it.
func ScanExperience(b []byte, x *Experience) error {
	*x = Experience{}
	if err := x.scanRequest(b); err != nil {
		return err
	}
	if x.in.end == 0 {
		return &FieldError{Field: "episode", Expected: "an episode", Got: "none"}
	}
	var body Episode
	err := ScanEpisode(x.Body, &body)
	x.ID, x.Text, x.Embedding = body.ID, body.What, body.Embedding
	return err
}

func (x *Experience) scanRequest(b []byte) error {
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if err := experienceRules.check(&f, &seen); err != nil {
			return err
		}
		switch f.num {
		case 1:
			x.Space = f.data
		case 2:
			x.Body, x.in = f.data, place{b, f.start, f.end}
		}
	}
	return r.err()
}
