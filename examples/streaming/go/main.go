// Command go is a streaming client in its smallest useful form: it opens a session, observes, waits for the acks, resumes
// after a lost connection, and recalls. Run it beside a sidecar: go run ./examples/streaming/go [host:port]
//
// The vectors here are made up from the text's bytes; use those of your model.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

func main() {
	addr := "127.0.0.1:50051"
	if len(os.Args) > 1 {
		addr = os.Args[1]
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	c := &client{api: engramv1.NewEngramServiceClient(conn)}
	for i := range 1000 {
		c.texts = append(c.texts, fmt.Sprintf("observation number %d", i+1))
	}
	for c.acked < uint64(len(c.texts)) {
		if err := c.stream(context.Background()); err != nil {
			if code := status.Code(err); code != codes.Unavailable {
				log.Fatal(err)
			}
			log.Printf("connection lost after observation %d: resuming", c.acked)
			time.Sleep(200 * time.Millisecond) // a real client backs off
		}
	}
	fmt.Printf("session %s: %d acked\n", c.session, c.acked)
	answer, err := c.api.Recall(context.Background(), &engramv1.RecallRequest{MaxResults: 3, Cue: &engramv1.Cue{
		CueType: &engramv1.Cue_Embedding{Embedding: &engramv1.EmbeddingCue{Vector: vector("observation number 42")}},
	}})
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range answer.Memories {
		fmt.Println("recalled:", m.Content)
	}
}

// client is one session. What is behind acked has to be kept: after a crash it is sent again.
type client struct {
	api     engramv1.EngramServiceClient
	session string // empty until the sidecar has named it
	texts   []string
	acked   uint64 // the sequence up to which everything is on the sidecar's disk
}

// stream opens or resumes the session and sends what is not acked. nil means that all is acked.
func (c *client) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.api.ObserveStream(ctx)
	if err != nil {
		return err
	}
	// A send that fails says io.EOF; the reason comes from Recv.
	if err := stream.Send(&engramv1.ObservationRequest{SessionId: c.session, Operation: &engramv1.ObservationRequest_Init{
		Init: &engramv1.StreamInit{EnableBackpressure: true},
	}}); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	c.session = first.GetInitAck().GetSessionId()
	c.acked = first.GetInitAck().GetInitialSequence() // may be past the last ack that arrived
	return c.send(stream)
}

// send keeps at most 128 observations under way.
func (c *client) send(stream engramv1.EngramService_ObserveStreamClient) error {
	next := c.acked + 1
	for c.acked < uint64(len(c.texts)) {
		for ; next <= uint64(len(c.texts)) && next <= c.acked+128; next++ {
			err := stream.Send(&engramv1.ObservationRequest{SequenceNumber: next, Operation: &engramv1.ObservationRequest_Observation{
				Observation: &engramv1.Episode{What: c.texts[next-1], Embedding: vector(c.texts[next-1])},
			}})
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		switch st := answer.GetStatus(); {
		case answer.GetAck() != nil:
			c.acked = answer.SequenceNumber
		case st.GetState() == engramv1.StreamStatus_STATE_OVERLOADED:
			time.Sleep(time.Second) // the message names a better time
			next = c.acked + 1      // refused observations use up no number
		case st.GetState() == engramv1.StreamStatus_STATE_ERROR && answer.SequenceNumber == c.acked+1:
			return fmt.Errorf("observation %d refused: %s", answer.SequenceNumber, st.GetMessage())
		}
	}
	return stream.CloseSend()
}

// vector makes 768 numbers of length 1 out of a text.
func vector(text string) []float32 {
	v := make([]float32, 768)
	for i, b := range []byte(text) {
		v[(i*31+int(b))%len(v)]++
	}
	norm := 0.0
	for _, x := range v {
		norm += float64(x * x)
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(norm))
	}
	return v
}
