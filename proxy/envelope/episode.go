package envelope

import "strconv"

// MaxID is how long a memory's id may be, in bytes.
const MaxID = 256

// Episode is a view of an engram.v1.Episode.
type Episode struct {
	ID            []byte    // at most 256 bytes of UTF-8; empty where the client gave none
	What          []byte    // UTF-8
	When          Timestamp // zero unless HasWhen
	HasWhen       bool
	Confidence    float32 // encoding_confidence.value, in [0, 1]; 0 unless HasConfidence
	HasConfidence bool
	Embedding     Vector // 768 finite floats
}

// ScanEpisode walks an Episode and fills e with views into b. The error is a *FieldError, or wraps ErrMalformed where b is
// no message at all; then e holds what came before the fault, and nothing in it has been judged.
func ScanEpisode(b []byte, e *Episode) error {
	*e = Episode{Embedding: Vector{message: b, num: 4}}
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if err := episodeRules.check(&f, &seen); err != nil {
			return err
		}
		if err := e.take(&f); err != nil {
			return err
		}
	}
	if err := r.err(); err != nil {
		return err
	}
	if err := checkID(e.ID); err != nil {
		return err
	}
	return e.Embedding.check()
}

func (e *Episode) take(f *field) (err error) {
	switch f.num {
	case 1:
		e.ID = f.data
	case 2:
		e.HasWhen = true
		err = scanTimestamp("when", f.data, &e.When)
	case 3:
		e.What = f.data
	case 4:
		err = e.Embedding.take(f)
	case 5:
		e.HasConfidence = true
		e.Confidence, err = scanConfidence("encoding_confidence", f.data)
	case 31:
		var lastReplay Timestamp
		err = scanTimestamp("last_replay", f.data, &lastReplay)
	}
	return err
}

// checkID is called at the end of a walk: where an id comes twice, the last one counts.
func checkID(id []byte) error {
	if len(id) > MaxID {
		return &FieldError{Field: "id", Expected: "at most 256 bytes", Got: strconv.Itoa(len(id))}
	}
	return nil
}
