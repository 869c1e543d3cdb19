package observe

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// Limits of one line and of one observation in bytes. The second is the sidecar's own default.
const (
	maxLine    = 1 << 20
	maxEpisode = 256 << 10
	maxID      = 256
)

// Format says what a line is.
type Format string

// The formats of input.
const (
	FormatAuto Format = "auto" // JSON when the first line that is not blank begins with {, else text
	FormatText Format = "off"
	FormatJSON Format = "on" // each line a JSON object with the fields of engram.v1.Episode
)

// ReaderConfig says how lines become observations.
type ReaderConfig struct {
	Format     Format
	Dimensions int                    // length of an embedding
	Embed      func(string) []float32 // makes an embedding of a text that comes without
	IDPrefix   string                 // ids are prefix-line where it is set; else the sidecar makes them
	Now        func() time.Time       // when a text line happened
}

// Observation is one line, ready to be sent.
type Observation struct {
	Line    int64 // counted from 1, blank ones too
	Episode *engramv1.Episode
}

// LineError says which line could not be made an observation of, and why. The reader goes on behind it.
type LineError struct {
	Line int64
	Err  error
}

// Error names the line.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the reason.
func (e *LineError) Unwrap() error { return e.Err }

// Reader makes observations of lines. One goroutine may call Next, any may call Bytes.
type Reader struct {
	cfg   ReaderConfig
	in    *bufio.Reader
	line  int64
	bytes atomic.Int64
	buf   []byte // the present line where it did not fit the buffer of in
}

// NewReader reads lines from in.
func NewReader(in io.Reader, cfg ReaderConfig) *Reader {
	return &Reader{cfg: cfg, in: bufio.NewReaderSize(in, 64<<10)}
}

// Bytes says how much of the input was read.
func (r *Reader) Bytes() int64 { return r.bytes.Load() }

// Next returns the next line that is not blank: io.EOF at the end, a *LineError for a line that is none of what the
// format wants, any other error when the input can't be read.
func (r *Reader) Next() (Observation, error) {
	for {
		text, err := r.readLine()
		if err != nil {
			return Observation{}, err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		episode, err := r.episode(text)
		if err != nil {
			return Observation{}, &LineError{r.line, err}
		}
		return Observation{r.line, episode}, nil
	}
}

// readLine returns the next line without its end. A line that is too long is read to its end and refused.
func (r *Reader) readLine() ([]byte, error) {
	r.buf = r.buf[:0]
	r.line++
	tooLong := false
	for {
		part, err := r.in.ReadSlice('\n')
		r.bytes.Add(int64(len(part)))
		tooLong = tooLong || len(r.buf)+len(part) > maxLine
		if !tooLong {
			r.buf = append(r.buf, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.buf) == 0 && !tooLong:
			return nil, io.EOF
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("reading line %d: %w", r.line, err)
		case tooLong:
			return nil, &LineError{r.line, fmt.Errorf("expected at most %d bytes, got more", maxLine)}
		}
		text := bytes.TrimRight(r.buf, "\r\n")
		if r.line == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		return text, nil
	}
}

func (r *Reader) episode(text []byte) (*engramv1.Episode, error) {
	if r.cfg.Format == FormatAuto { // the first line decides for all, or a text line with a brace would change the rules
		r.cfg.Format = FormatText
		if bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) {
			r.cfg.Format = FormatJSON
		}
	}
	e := &engramv1.Episode{}
	if r.cfg.Format == FormatJSON {
		if err := protojson.Unmarshal(text, e); err != nil {
			return nil, fmt.Errorf("expected a JSON object with the fields of an episode: %w", err)
		}
	} else {
		if !utf8.Valid(text) {
			return nil, errors.New("expected UTF-8 text")
		}
		e.What = strings.TrimSpace(string(text))
		e.When = timestamppb.New(r.cfg.Now())
	}
	return e, r.complete(e)
}

// complete gives the episode an id and an embedding where it has none, and refuses what the sidecar would refuse.
func (r *Reader) complete(e *engramv1.Episode) error {
	if e.Id == "" && r.cfg.IDPrefix != "" {
		e.Id = fmt.Sprintf("%s-%d", r.cfg.IDPrefix, r.line)
	}
	if len(e.Id) > maxID {
		return fmt.Errorf("id: expected at most %d bytes, got %d", maxID, len(e.Id))
	}
	if len(e.Embedding) == 0 {
		if e.What == "" {
			return errors.New("expected an embedding, or a text in \"what\" to make one of; got neither")
		}
		e.Embedding = r.cfg.Embed(e.What)
	}
	if len(e.Embedding) != r.cfg.Dimensions {
		return fmt.Errorf("embedding: expected %d dimensions, got %d", r.cfg.Dimensions, len(e.Embedding))
	}
	for i, v := range e.Embedding {
		if v-v != 0 { // an infinity or not a number
			return fmt.Errorf("embedding: expected finite numbers, got %v in place %d", v, i)
		}
	}
	if size := proto.Size(e); size > maxEpisode {
		return fmt.Errorf("expected an episode of at most %d bytes, got %d", maxEpisode, size)
	}
	return nil
}
