package main

import (
	"github.com/google/uuid"

	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
	"github.com/engram-sidecar/engram-sidecar/wal/ledger"
)

// found is what inspect and verify say as JSON.
type found struct {
	DataDir  string         `json:"data_dir"`
	Holder   string         `json:"holder"` // "" where it is stopped
	Journal  string         `json:"journal"`
	Format   int            `json:"format"`
	Records  int            `json:"records"`
	Bytes    int64          `json:"bytes"`
	Sessions int            `json:"sessions"`
	Balance  foundBalance   `json:"balance"`
	Ledger   string         `json:"ledger"` // why it has to be built anew, "" where it need not
	Segments []foundSegment `json:"generations"`
	Torn     *foundDamage   `json:"torn"`
	Damages  []foundDamage  `json:"damages"`
	Lost     uint64         `json:"lost"`    // observations that no earlier start has counted as damaged
	Repairs  []string       `json:"repairs"` // none while it is in use
}

type foundBalance struct {
	Accepted  uint64 `json:"accepted"`
	Delivered uint64 `json:"delivered"`
	Pending   uint64 `json:"pending"`
	Dead      uint64 `json:"dead"`
	Dropped   uint64 `json:"dropped"`
	Damaged   uint64 `json:"damaged"`
}

type foundSegment struct {
	Number  uint64 `json:"number"`
	Bytes   int64  `json:"bytes"`
	Records int    `json:"records"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Damages int    `json:"damages"`
}

type foundDamage struct {
	File     string `json:"file"`
	Offset   int64  `json:"offset"`
	Length   int64  `json:"length"`
	First    uint64 `json:"first"` // indexes, 0 where not known
	Last     uint64 `json:"last"`
	Session  string `json:"session"` // "" where not known
	Sequence uint64 `json:"sequence"`
	Space    string `json:"space"`
	Reason   string `json:"reason"`
}

func foundOf(i *recovery.Inspection, dir string) found {
	f := found{
		DataDir: dir, Holder: i.Holder, Journal: uuid.UUID(i.Format.Journal).String(), Format: i.Format.Version,
		Records: i.Records, Bytes: i.Bytes, Sessions: i.Sessions, Balance: foundBalanceOf(i.Balance), Lost: i.Lost,
		Segments: []foundSegment{}, Damages: []foundDamage{}, Repairs: []string{},
	}
	if i.Holder == "" {
		f.Repairs = append(f.Repairs, i.Repairs()...)
	}
	if i.Ledger != nil {
		f.Ledger = i.Ledger.Error()
	}
	for _, s := range i.Segments {
		f.Segments = append(f.Segments, foundSegment{s.Number, s.Bytes, s.Records, s.First, s.Last, s.Damages})
	}
	if i.Torn != nil {
		torn := foundDamageOf(i.Torn)
		f.Torn = &torn
	}
	for _, d := range i.Damages {
		f.Damages = append(f.Damages, foundDamageOf(d))
	}
	return f
}

func foundBalanceOf(b ledger.Balance) foundBalance {
	return foundBalance{b.Accepted, b.Delivered, b.Pending, b.Dead, b.Dropped, b.Damaged}
}

func foundDamageOf(d *wal.DamageError) foundDamage {
	return foundDamage{d.File, d.Offset, d.Length, d.First, d.Last, sessionText(d.Session), d.Sequence, d.Space, d.Reason}
}

func sessionText(id wal.SessionID) string {
	if id.IsZero() {
		return ""
	}
	return id.String()
}
