package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/recovery"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

func (p *program) exportCommand() *cobra.Command {
	var where dataDirFlags
	var space string
	var dead bool
	c := &cobra.Command{
		Use:   "export",
		Short: "Print what was accepted and not delivered, as lines that observe reads",
		Long: `export prints each observation that was accepted and is not known to be delivered as a line of JSON with the fields of
an episode, oldest first, and changes nothing. Each line bears the id under which it was acknowledged, so that to observe
it twice, or to observe what was delivered after all, stores nothing twice. A memory is exported as an episode: its tags
and what else an episode has no field for are left out, and said on stderr.

Lines do not name a memory space: where there are several, --space says which to export.`,
		Example: `  engram-sidecar journal export > pending.jsonl
  engram-sidecar observe --file pending.jsonl --addr 10.0.0.7:50051
  engram-sidecar journal export --dead --space logs`,
		Args: noArguments,
	}
	where.add(c)
	c.Flags().StringVar(&space, "space", "", "only what goes to this memory space (default all, where there is but one)")
	c.Flags().BoolVar(&dead, "dead", false, "the dead letters, which the store refused for good, instead of what is pending")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return p.onInspection(&where, func(i *recovery.Inspection, _ string) error {
			each := i.Pending
			if dead {
				each = i.Dead
			}
			return p.export(cmd.Context(), each, space)
		})(cmd, args)
	}
	return c
}

// exported counts what export met.
type exported struct{ lines, elsewhere, lossy, none int }

func (p *program) export(ctx context.Context, each func(func(*wal.Record) error) error, space string) error {
	if space == "" {
		if err := oneSpace(each); err != nil {
			return err
		}
	}
	var n exported
	out := bufio.NewWriter(p.stdout)
	err := each(func(r *wal.Record) error {
		if space != "" && r.Space != space {
			n.elsewhere++
			return nil
		}
		return errors.Join(untilDone(ctx), n.print(out, r))
	})
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	n.say(p.stderr)
	return nil
}

// oneSpace refuses to mix spaces: a line does not name its own.
func oneSpace(each func(func(*wal.Record) error) error) error {
	count := map[string]int{}
	if err := each(func(r *wal.Record) error { count[r.Space]++; return nil }); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if len(count) < 2 {
		return nil
	}
	var names []string
	for name, n := range count {
		names = append(names, fmt.Sprintf("%s (%d)", name, n))
	}
	slices.Sort(names)
	return usage("there are observations of %d memory spaces: name one with --space: %s", len(count), strings.Join(names, ", "))
}

func (n *exported) print(out io.Writer, r *wal.Record) error {
	e, lossy, err := episodeOf(r)
	if err != nil || e == nil {
		n.none++
		return nil //nolint:nilerr // it is counted, and said
	}
	line, err := protojson.Marshal(e)
	if err != nil {
		n.none++
		return nil //nolint:nilerr // likewise
	}
	n.lines++
	if lossy {
		n.lossy++
	}
	_, err = fmt.Fprintln(out, harmless(line))
	return err
}

// harmless is escapeControls for lines that are mostly numbers.
func harmless(line []byte) string {
	for _, c := range line {
		if c < ' ' || c > '~' {
			return escapeControls(string(line))
		}
	}
	return string(line)
}

// say tells on stderr what a reader of the lines cannot see.
func (n *exported) say(w io.Writer) {
	text := fmt.Sprintf("engram-sidecar: exported %d observations", n.lines)
	if n.elsewhere > 0 {
		text += fmt.Sprintf(", left out %d of other memory spaces", n.elsewhere)
	}
	if n.lossy > 0 {
		text += fmt.Sprintf(", %d of them without what an episode has no field for, such as tags and links", n.lossy)
	}
	if n.none > 0 {
		text += fmt.Sprintf(", LEFT OUT %d that hold neither an episode nor a memory", n.none)
	}
	_, _ = fmt.Fprintln(w, text) // a remark
}

// episodeOf makes an episode of what was accepted, with the id under which it was acknowledged; nil where it holds none.
// Lossy says that it held what an episode has no field for.
func episodeOf(r *wal.Record) (e *engramv1.Episode, lossy bool, err error) {
	switch r.Form {
	case wal.FormEpisode:
		e = &engramv1.Episode{}
		err = proto.Unmarshal(r.Payload, e)
	case wal.FormRemember:
		var m engramv1.RememberRequest
		err = proto.Unmarshal(r.Payload, &m)
		e, lossy = m.GetEpisode(), m.GetAutoLink()
		if memory := m.GetMemory(); memory != nil {
			e, lossy = episodeOfMemory(memory), true
		}
	case wal.FormExperience:
		var x engramv1.ExperienceRequest
		err = proto.Unmarshal(r.Payload, &x)
		e, lossy = x.GetEpisode(), x.GetImmediateConsolidation() || len(x.GetContextLinks()) > 0
	}
	if e != nil {
		e.Id = string(r.ID)
		lossy = lossy || len(e.ProtoReflect().GetUnknown()) > 0
	}
	return e, lossy, err
}

// episodeOfMemory keeps of a memory what an episode has a field for.
func episodeOfMemory(m *engramv1.Memory) *engramv1.Episode {
	about := m.GetMetadata()
	e := &engramv1.Episode{
		When: m.GetCreatedAt(), What: m.GetContent(), Embedding: m.GetEmbedding(), EncodingConfidence: m.GetConfidence(),
		DecayRate: m.GetDecayRate(), WhereLocation: about["where"], Why: about["why"], How: about["how"],
	}
	if who := about["who"]; who != "" {
		e.Who = []string{who}
	}
	return e
}
