package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// listed is one record in a list.
type listed struct {
	Generation uint64 `json:"generation"`
	Index      uint64 `json:"index"`
	Batch      uint64 `json:"batch"`
	Kind       string `json:"kind"`
	Form       string `json:"form"`
	Lane       string `json:"lane"`
	Session    string `json:"session"`
	Sequence   uint64 `json:"sequence"`
	Space      string `json:"space"`
	ID         string `json:"id"`
	Bytes      int    `json:"bytes"`
	Time       string `json:"time"`
	Fate       string `json:"fate"`
}

func (p *program) listRecords(i *recovery.Inspection, asJSON bool) error {
	out := bufio.NewWriter(p.stdout)
	err := i.EachRecord(func(generation uint64, r *wal.Record, fate string) error {
		l := listedOf(generation, r, fate)
		text := l.line()
		if asJSON {
			b, err := json.Marshal(l)
			if err != nil {
				return err
			}
			text = escapeControls(string(b))
		}
		_, err := fmt.Fprintln(out, text)
		return err
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("listing the records: %w", err)
	}
	return nil
}

func listedOf(generation uint64, r *wal.Record, fate string) listed {
	l := listed{
		Generation: generation, Index: r.Index, Batch: r.Batch, Kind: r.Kind.String(), Session: sessionText(r.Session),
		Sequence: r.Sequence, Space: r.Space, ID: string(r.ID), Bytes: len(r.Payload), Fate: fate,
		Time: time.Unix(0, r.Time).UTC().Format(time.RFC3339Nano),
	}
	if r.Form != wal.FormNone {
		l.Form = r.Form.String()
	}
	if r.Lane != 0 {
		l.Lane = r.Lane.String()
	}
	return l
}

// line is the record for a person, in the same order always; what it does not have is a dash.
func (l listed) line() string {
	fields := []string{
		fmt.Sprint(l.Generation), fmt.Sprint(l.Index), l.Time, strings.ReplaceAll(l.Kind, " ", "-"), l.Form, l.Lane, l.Session,
		fmt.Sprint(l.Sequence), l.Space, l.ID, fmt.Sprint(l.Bytes), l.Fate,
	}
	for i, f := range fields {
		if fields[i] = strings.ReplaceAll(printable(f), " ", "_"); fields[i] == "" {
			fields[i] = "-"
		}
	}
	return strings.Join(fields, " ")
}
