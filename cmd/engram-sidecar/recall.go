package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/metadata"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/embedding"
)

// recallOptions are the flags of recall.
type recallOptions struct {
	secure
	address   string
	space     string
	count     uint32
	asJSON    bool
	committed bool
}

// memory is one line of an answer.
type memory struct {
	ID    string  `json:"id"`
	Score float32 `json:"score"` // cosine similarity, -1 to 1
	Text  string  `json:"text"`
}

func (p *program) recallCommand() *cobra.Command {
	var o recallOptions
	c := &cobra.Command{
		Use:   "recall TEXT...",
		Short: "Find what was observed by what it says",
		Long: `recall makes an embedding of the text as observe does, asks the sidecar for the nearest memories, and prints
their ids, scores (cosine similarity) and texts, best first. The built-in embedding counts words and pieces of
words: it finds what is said in like words, not what means the same. See go doc of proxy/embedding.`,
		Example: `  engram-sidecar recall "the colours of thin plates"
  engram-sidecar recall --space notes -k 3 --json kettle`,
		Args: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(strings.Join(args, " ")) == "" {
				return usage("expected a text to look for: see %s --help", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.count == 0 {
				return usage("--count: expected 1 or more, got 0")
			}
			return p.recall(cmd.Context(), o, strings.Join(args, " "))
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.address, "addr", defaultAddress, addressHelp)
	f.StringVar(&o.space, "space", "", "memory space to search (default the sidecar's)")
	f.Uint32VarP(&o.count, "count", "k", 10, "how many to find at most")
	f.BoolVar(&o.committed, "committed", false, "only what the store has; else also what is accepted and on its way")
	f.BoolVar(&o.asJSON, "json", false, "print a JSON array")
	addSecure(f, &o.secure)
	return c
}

func (p *program) recall(ctx context.Context, o recallOptions, text string) error {
	conn, err := dial(o.address, o.secure)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way on it any more
	stream, err := engramv1.NewEngramServiceClient(conn).RecallStream(ctx, &engramv1.StreamingRecallRequest{
		MemorySpaceId: o.space, MaxResults: o.count, SnapshotIsolation: o.committed,
		Cue: &engramv1.Cue{CueType: &engramv1.Cue_Embedding{Embedding: &engramv1.EmbeddingCue{Vector: embedding.Text(text)}}},
	})
	if err != nil {
		return explain(err, o.address)
	}
	found := []memory{} // an empty answer is [] in JSON
	for {
		batch, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return explain(err, o.address)
		}
		for _, m := range batch.GetResults() {
			found = append(found, memory{m.GetId(), m.GetActivation(), m.GetContent()})
		}
	}
	if md, err := stream.Header(); err == nil {
		p.sayPartial(md)
	}
	if o.asJSON {
		return p.writeJSON(found)
	}
	return p.write(table(found, widthOf(p.stdout)))
}

// sayPartial tells what an answer lacks, in the words of the protocol's header.
func (p *program) sayPartial(md metadata.MD) {
	for _, what := range md.Get("engram-partial") {
		_, _ = fmt.Fprintf(p.stderr, "engram-sidecar: the answer is partial: %s\n", printable(what)) // a remark: the answer follows
	}
}

// table aligns ids, scores and texts. On a terminal a line is no wider than that.
func table(found []memory, width int) string {
	longest := 0
	for i := range found {
		found[i].ID = printable(found[i].ID)
		longest = max(longest, len([]rune(found[i].ID)))
	}
	var b strings.Builder
	for _, m := range found {
		room := 0
		if width > 0 {
			room = max(width-longest-len("  +0.000  "), 20)
		}
		fmt.Fprintf(&b, "%-*s  %6.3f  %s\n", longest, m.ID, m.Score, clip(strings.TrimSpace(printable(m.Text)), room))
	}
	return b.String()
}
