package envelope

import "fmt"

// Ask is what a MemoryFlowRequest asks for.
type Ask uint8

// The requests.
const (
	AskNone Ask = iota
	AskRemember
	AskRecall
	AskSubscribe
	AskControl
)

// String returns the name of the request's field.
func (a Ask) String() string {
	switch a {
	case AskNone:
		return "no request"
	case AskRemember, AskRecall, AskSubscribe, AskControl:
		return memoryFlowRules[a+1].name
	default:
		return fmt.Sprintf("request %d", uint8(a))
	}
}

// MemoryFlow is a view of an engram.v1.MemoryFlowRequest.
type MemoryFlow struct {
	Ask      Ask
	Space    []byte // memory_space_id, UTF-8, as it came: see ValidSpace
	Session  []byte // session_id, UTF-8, as it came
	Sequence int64
	Body     []byte // the request's own message

	Control Flow // with AskControl
}

// ScanMemoryFlow walks a MemoryFlowRequest and fills m with views into b. Of what is inside it reads the control through. A
// *FieldError means that the outer layer could be read, so that the refusal can be answered in-band: then Ask, Session and
// Sequence are as they came. Any other error wraps ErrMalformed. No request at all is no error: Ask is AskNone.
func ScanMemoryFlow(b []byte, m *MemoryFlow) error {
	*m = MemoryFlow{}
	var refusal error
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		err := memoryFlowRules.check(&f, &seen)
		if ask := askOf(&f); err == nil && ask != AskNone && m.Ask != AskNone {
			err = &FieldError{Field: "request", Expected: "one of remember, recall, subscribe, control", Got: m.Ask.String() + " and " + ask.String()}
		}
		if refusal == nil {
			refusal = err
		}
		if memoryFlowRules.fits(&f) {
			m.take(&f)
		}
	}
	switch {
	case r.err() != nil:
		return r.err()
	case refusal != nil:
		return refusal
	case m.Ask == AskControl:
		if err := m.Control.scan(m.Body); err != nil {
			return within("control", err)
		}
	}
	return nil
}

func (m *MemoryFlow) take(f *field) {
	switch f.num {
	case 1:
		m.Space = f.data
	case 2, 3, 4, 5:
		m.Ask, m.Body = askOf(f), f.data
	case 10:
		m.Session = f.data
	case 11:
		m.Sequence = int64(f.value) //nolint:gosec // an int64 on the wire is its bits
	}
}

// askOf returns which request a field is, or AskNone.
func askOf(f *field) Ask {
	if f.num < 2 || f.num > 5 {
		return AskNone
	}
	return Ask(f.num - 1)
}

// ImportanceOf reads the importance of the episode in a message that a Scan function has accepted, as a number from 0 to 1; 0
// where there is none. In is the field that holds the episode, 0 where the message is the episode.
func ImportanceOf(message []byte, in int32) (importance float32) {
	var f field
	r := reader{b: message}
	for r.next(&f) {
		switch {
		case in == 0 && f.num == 22:
			importance = f.float()
		case in != 0 && int32(f.num) == in:
			importance = ImportanceOf(f.data, 0)
		}
	}
	if importance > 0 { // NaN is not
		return min(importance, 1)
	}
	return 0
}
