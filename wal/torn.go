package wal

// Follow tells s which index its first record must have: the one after the last record of the generation before it. What
// is missing in front of the first frame gets its indexes thereby; without Follow it has none, and is never Torn.
func (s *Scanned) Follow(expect uint64) {
	if s.first <= expect {
		return
	}
	if len(s.Damages) == 0 || s.Damages[0].Offset != 0 || (s.Damages[0].First != 0 && s.Damages[0].First != expect) {
		missing := ScannedDamage{DamageError{File: s.Path, Reason: reasonMissing}}
		s.Damages = append([]ScannedDamage{missing}, s.Damages...)
	}
	s.Damages[0].First, s.Damages[0].Last = expect, s.first-1
}

// Torn says that a damage in the newest generation can be what a crash leaves of a batch that was never acknowledged.
// Batch N+1 is written only after the fsync of batch N; so whatever misses a record of an earlier batch than the last
// one of which a header survived had been synced, and is rot. What misses no record at all is rot too: a crash cannot
// put bytes between two frames that belong together.
func (s *Scanned) Torn(d *ScannedDamage) bool {
	if s.Last == 0 || s.lastAt < d.Offset+d.Length {
		return true // nothing behind it proves that another batch was ever begun
	}
	return d.First != 0 && d.First >= s.lastFirst
}

// TornAt finds where the torn tail of the newest generation begins: the first damage that is Torn, as all behind it that
// miss a record then are too. Everything from there on may be cut, whole frames too: they belong to the same batch.
func (s *Scanned) TornAt() (at int64, torn bool) {
	first := len(s.Damages)
	for i := len(s.Damages) - 1; i >= 0; i-- {
		d := &s.Damages[i]
		if s.Torn(d) {
			first = i
		} else if d.First != 0 {
			break
		}
	}
	if first == len(s.Damages) {
		return s.Size, false
	}
	for first > 0 && s.Damages[first-1].First == 0 && s.Damages[first-1].end() == s.Damages[first].Offset {
		first-- // bytes in front of it that hold no record, such as a damaged length
	}
	return s.Damages[first].Offset, true
}

func (d *ScannedDamage) end() int64 { return d.Offset + d.Length }

// Trim makes s what a scan would find after everything from byte at on had been cut.
func (s *Scanned) Trim(at int64) {
	n := len(s.Offsets)
	for n > 0 && (s.Offsets[n-1] == 0 || int64(s.Offsets[n-1]) >= at) {
		if s.Offsets[n-1] != 0 {
			s.Records--
		}
		n--
	}
	s.Offsets = s.Offsets[:n]
	if n == 0 {
		s.Base, s.Head = 0, nil
	}
	for i := range s.Damages {
		if s.Damages[i].Offset >= at {
			s.Damages = s.Damages[:i]
			break
		}
	}
	s.Size, s.End = at, min(s.End, at)
}
