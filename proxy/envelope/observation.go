package envelope

import "fmt"

// Op is what an ObservationRequest asks for.
type Op uint8

// The operations.
const (
	OpNone Op = iota
	OpInit
	OpObservation
	OpFlow
	OpClose
)

// String returns the name of the operation's field.
func (o Op) String() string {
	switch o {
	case OpNone:
		return "no operation"
	case OpInit, OpObservation, OpFlow, OpClose:
		return observationRules[o+1].name
	default:
		return fmt.Sprintf("operation %d", uint8(o))
	}
}

// Observation is a view of an engram.v1.ObservationRequest.
type Observation struct {
	Op       Op
	Space    []byte // memory_space_id, UTF-8, as it came: see ValidSpace
	Session  []byte // session_id, UTF-8, as it came
	Sequence uint64
	Body     []byte // the operation's own message: with OpObservation what ScanEpisode takes

	Init  Init  // with OpInit
	Flow  Flow  // with OpFlow
	Close Close // with OpClose
}

// ScanObservation walks an ObservationRequest and fills o with views into b. It reads the small operations through, but not
// into an observation: the refusal of an episode has to name the sequence, so ScanEpisode(o.Body) comes second.
//
// A *FieldError means that the outer layer could be read, so that the refusal can be answered in-band: Op, Space, Session,
// Sequence and Body are as they came (with two operations, the last one), whichever of them was refused. Any other error
// wraps ErrMalformed; then o holds what came before the fault. No operation at all is no error: Op is OpNone.
func ScanObservation(b []byte, o *Observation) error {
	*o = Observation{}
	var fault error
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if fault == nil {
			fault = o.judge(&f, &seen)
		}
		if observationRules.fits(&f) {
			o.take(&f)
		}
	}
	if err := r.err(); err != nil {
		return err
	}
	if fault != nil {
		return fault
	}
	return o.scanBody()
}

// judge refuses a field that must not come at all, or not beside those before it.
func (o *Observation) judge(f *field, seen *uint32) error {
	if err := observationRules.check(f, seen); err != nil {
		return err
	}
	if op := operation(f); op != OpNone && o.Op != OpNone {
		got := o.Op.String() + " and " + op.String()
		return &FieldError{Field: "operation", Expected: "one of init, observation, flow, close", Got: got}
	}
	return nil
}

func (o *Observation) take(f *field) {
	switch f.num {
	case 1:
		o.Space = f.data
	case 2, 3, 4, 5:
		o.Op, o.Body = operation(f), f.data
	case 10:
		o.Session = f.data
	case 11:
		o.Sequence = f.value
	}
}

// operation returns which operation a field of the request is, or OpNone.
func operation(f *field) Op {
	if f.num < 2 || f.num > 5 {
		return OpNone
	}
	return Op(f.num - 1)
}

// scanBody reads the small operations.
func (o *Observation) scanBody() (err error) {
	switch o.Op {
	case OpInit:
		err = o.Init.scan(o.Body)
	case OpFlow:
		err = o.Flow.scan(o.Body)
	case OpClose:
		err = o.Close.scan(o.Body)
	default:
		return nil
	}
	if err != nil {
		return within(o.Op.String(), err)
	}
	return nil
}
