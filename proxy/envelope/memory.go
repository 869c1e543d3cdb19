package envelope

// Memory is a view of an engram.v1.Memory.
type Memory struct {
	ID            []byte  // at most 256 bytes of UTF-8; empty where the client gave none
	Content       []byte  // UTF-8
	Confidence    float32 // confidence.value, in [0, 1]; 0 unless HasConfidence
	HasConfidence bool
	Embedding     Vector // 768 finite floats
}

// ScanMemory walks a Memory and fills m with views into b. Errors are those of ScanEpisode.
func ScanMemory(b []byte, m *Memory) error {
	*m = Memory{Embedding: Vector{message: b, num: 2}}
	var seen uint32
	var f field
	r := reader{b: b}
	for r.next(&f) {
		if err := memoryRules.check(&f, &seen); err != nil {
			return err
		}
		if err := m.take(&f); err != nil {
			return err
		}
	}
	if err := r.err(); err != nil {
		return err
	}
	if err := checkID(m.ID); err != nil {
		return err
	}
	return m.Embedding.check()
}

func (m *Memory) take(f *field) (err error) {
	var at Timestamp
	switch f.num {
	case 1:
		m.ID = f.data
	case 2:
		err = m.Embedding.take(f)
	case 4:
		m.HasConfidence = true
		m.Confidence, err = scanConfidence("confidence", f.data)
	case 5:
		err = scanTimestamp("last_access", f.data, &at)
	case 6:
		err = scanTimestamp("created_at", f.data, &at)
	case 10:
		m.Content = f.data
	case 11:
		err = checkMetadata("metadata", f.data)
	}
	return err
}
