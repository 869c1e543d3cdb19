package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Bounds of what open pages may cost: how many there may be, how many samples one may be behind, and how long a write to
// it may take. What is slower is cut off, and may come again.
const (
	maxReaders     = 32
	readerBehind   = 8
	readerPatience = 10 * time.Second
)

var (
	errTooManyReaders = errors.New("the dashboard is open on 32 pages already: close one of them")
	errFeedClosed     = errors.New("the sidecar is stopping")
)

// feed gives every sample to all pages that are open, as one message made once. A page that does not keep up is cut off;
// nobody waits for it.
type feed struct {
	mu      sync.Mutex
	kept    []Sample // the oldest first
	last    []byte   // the newest message
	readers map[chan []byte]struct{}
	closed  bool
}

// open adds a page. The channel is closed when the page is cut off, or the feed ends. first is what it is sent first: what
// was kept, and how things stand.
func (f *feed) open() (reader chan []byte, first [][]byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return nil, nil, errFeedClosed
	case len(f.readers) >= maxReaders:
		return nil, nil, errTooManyReaders
	}
	if f.readers == nil {
		f.readers = make(map[chan []byte]struct{})
	}
	reader = make(chan []byte, readerBehind)
	f.readers[reader] = struct{}{}
	kept := f.kept
	if kept == nil {
		kept = []Sample{}
	}
	history, err := json.Marshal(kept)
	if err == nil {
		first = append(first, event("history", history))
	}
	if f.last != nil {
		first = append(first, f.last)
	}
	return reader, first, nil
}

// leave removes a page that is gone.
func (f *feed) leave(reader chan []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.readers, reader)
}

// publish gives a sample to all. text is nil where it cannot be told.
func (f *feed) publish(s Sample, text []byte) {
	if text == nil {
		return
	}
	message := event("update", text)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = append(f.kept, s)
	if over := len(f.kept) - samplesKept; over > 0 {
		f.kept = append(f.kept[:0], f.kept[over:]...)
	}
	f.last = message
	for reader := range f.readers {
		select {
		case reader <- message:
		default: // it is too far behind
			delete(f.readers, reader)
			close(reader)
		}
	}
}

// close ends the feed for all.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for reader := range f.readers {
		delete(f.readers, reader)
		close(reader)
	}
}

// count is how many pages are open.
func (f *feed) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.readers)
}

// event is a server-sent event. The text is JSON on one line.
func event(name string, text []byte) []byte {
	var b bytes.Buffer
	b.WriteString("event: " + name + "\ndata: ")
	b.Write(text)
	b.WriteString("\n\n")
	return b.Bytes()
}

// events streams the feed to a page until one of the two is gone.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Type", "text/event-stream")
		return
	}
	reader, first, err := s.feed.open()
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	defer s.feed.leave(reader)
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Time{}); err != nil { // nothing more is read; the server's own deadline would end it
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	setNoStore(w)
	for _, message := range first {
		if !send(w, c, message) {
			return
		}
	}
	for {
		select {
		case message, ok := <-reader:
			if !ok || s.valid != nil && !s.valid(tokenOf(r)) { // its token may be taken back
				return
			}
			if !send(w, c, message) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// send writes one event, and says whether the page still listens.
func send(w http.ResponseWriter, c *http.ResponseController, message []byte) bool {
	if err := c.SetWriteDeadline(time.Now().Add(readerPatience)); err != nil {
		return false
	}
	_, err := w.Write(message)
	return err == nil && c.Flush() == nil
}
