package harness

import (
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
)

// at is the n-th observation of the session that the made-up histories are about.
func at(n uint64) Observation { return Observation{"s", n} }

func content(of Observation) Digest { return sha256.Sum256([]byte(of.String())) }

// history lets a made-up one read as a line.
type history struct{ *Oracle }

func (h history) sent(first, last uint64) history {
	for n := first; n <= last; n++ {
		h.Sent(at(n), content(at(n)))
	}
	return h
}

func (h history) acked(first, last uint64) history {
	for n := first; n <= last; n++ {
		h.Acked(at(n), at(n).String())
	}
	return h
}

func (h history) stored(first, last uint64) history {
	for n := first; n <= last; n++ {
		h.Stored(at(n), at(n).String(), content(at(n)))
	}
	return h
}

func (h history) storedAs(n uint64, id string, d Digest) history {
	h.Stored(at(n), id, d)
	return h
}

func (h history) resumed(n uint64) history {
	h.Resumed("s", n)
	return h
}

func TestOracleAcceptsWhatIsAllowed(t *testing.T) {
	for name, tell := range map[string]func(history){
		"all sent, acked and stored":             func(h history) { h.sent(1, 9).acked(1, 9).stored(1, 9) },
		"sent, not acked and not stored":         func(h history) { h.sent(1, 9).acked(1, 5).stored(1, 5) },
		"stored without ever having been acked":  func(h history) { h.sent(1, 9).acked(1, 5).stored(1, 9) },
		"redelivered after a crash":              func(h history) { h.sent(1, 9).acked(1, 9).stored(1, 6).stored(3, 9) },
		"resumed at the last ack":                func(h history) { h.sent(1, 9).acked(1, 5).resumed(5).stored(1, 5) },
		"resumed above the last ack":             func(h history) { h.sent(1, 9).acked(1, 5).resumed(8).stored(1, 8) },
		"resumed at the last send":               func(h history) { h.sent(1, 9).acked(1, 5).resumed(9).stored(1, 9) },
		"sent again after a resume, acked twice": func(h history) { h.sent(1, 9).acked(1, 9).sent(6, 9).acked(6, 9).stored(1, 9) },
		"refused for good by the store, and what is behind it stored": func(h history) {
			h.sent(1, 3).acked(1, 3).stored(1, 1)
			h.Refused(at(2))
			h.stored(3, 3)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := NewOracle()
			tell(history{o})
			if v := o.Judge(); len(v.Violations) > 0 || o.Broken() {
				t.Errorf("violations: %v, want none", v.Violations)
			}
		})
	}
}

func TestOracleFindsEachBrokenPromise(t *testing.T) {
	for name, row := range map[string]struct {
		tell func(history)
		want string
		soon bool // seen as it happens, not only at the end
	}{
		"an ack is lost": {
			func(h history) { h.sent(1, 9).acked(1, 9).stored(1, 8) }, AckedIsStored, false,
		},
		"an ack in the middle is lost": {
			func(h history) { h.sent(1, 9).acked(1, 9).stored(1, 4).stored(6, 9) }, AckedIsStored, true,
		},
		"one observation under two ids": {
			func(h history) { h.sent(1, 2).acked(1, 2).stored(1, 2).storedAs(2, "other", content(at(2))) }, StoredOnce, true,
		},
		"stored under an id that was not the acked one": {
			func(h history) { h.sent(1, 1).acked(1, 1).storedAs(1, "other", content(at(1))) }, ContentKept, false,
		},
		"acked under two ids": {
			func(h history) { h.sent(1, 1).acked(1, 1).stored(1, 1).Acked(at(1), "other") }, StoredOnce, true,
		},
		"two observations under one id": {
			func(h history) { h.sent(1, 2).storedAs(1, "same", content(at(1))).storedAs(2, "same", content(at(2))) }, StoredOnce, true,
		},
		"content changed on the way": {
			func(h history) { h.sent(1, 2).stored(1, 1).storedAs(2, "s/2", content(at(1))) }, ContentKept, true,
		},
		"delivered out of order": {
			func(h history) { h.sent(1, 3).stored(1, 1).stored(3, 3).stored(2, 2) }, OrderKept, true,
		},
		"resumed below the last ack": {
			func(h history) { h.sent(1, 9).acked(1, 5).stored(1, 5).resumed(4) }, ResumeInRange, true,
		},
		"resumed above the last send": {
			func(h history) { h.sent(1, 9).resumed(10) }, ResumeInRange, true,
		},
		"session forgotten": {
			func(h history) { h.sent(1, 9).Forgotten("s", errors.New("session not found")) }, ResumeInRange, true,
		},
		"stored what nobody sent": {
			func(h history) { h.sent(1, 1).stored(1, 2) }, NothingInvented, true,
		},
		"stored for a session nobody had": {
			func(h history) { h.Stored(Observation{"x", 1}, "id", Digest{}) }, NothingInvented, true,
		},
		"acked what nobody sent": {
			func(h history) { h.sent(1, 1).stored(1, 1).acked(1, 2) }, NothingInvented, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := NewOracle()
			row.tell(history{o})
			if o.Broken() != row.soon {
				t.Errorf("seen as it happened: %v, want %v", o.Broken(), row.soon)
			}
			v := o.Judge()
			if !slices.ContainsFunc(v.Violations, func(v Violation) bool { return v.Invariant == row.want }) {
				t.Errorf("violations: %v, want one of %q", v.Violations, row.want)
			}
		})
	}
}

func TestOracleCounts(t *testing.T) {
	o := NewOracle()
	history{o}.sent(1, 9).acked(1, 5).acked(5, 5).sent(6, 9).stored(1, 7).stored(4, 7)
	v := o.Judge()
	if v.Sent != 9 || v.Acked != 5 || v.Stored != 7 || v.Redelivered != 4 {
		t.Errorf("sent %d, acked %d, stored %d, redelivered %d; want 9, 5, 7, 4", v.Sent, v.Acked, v.Stored, v.Redelivered)
	}
	if got := o.LastAck("s"); got != 5 {
		t.Errorf("last ack %d, want 5", got)
	}
}

func TestOracleRefusesHistoriesItCannotJudge(t *testing.T) {
	for name, tell := range map[string]func(history){
		"a gap in what a client sends":           func(h history) { h.sent(2, 2) },
		"sequence zero":                          func(h history) { h.sent(0, 0) },
		"one sequence sent with another content": func(h history) { h.sent(1, 1).Sent(at(1), content(at(2))) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("taken without complaint")
				}
			}()
			tell(history{NewOracle()})
		})
	}
}
