package proxy

import (
	"context"
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// recallAll receives a whole recall stream.
func (e *edge) recallAll(r *pb.StreamingRecallRequest) (batches []*pb.StreamingRecallResponse, header metadata.MD) {
	e.t.Helper()
	stream, err := e.RecallStream(e.ctx, r)
	if err != nil {
		e.t.Fatal(err)
	}
	for {
		batch, err := stream.Recv()
		if err != nil {
			wantStatus(e.t, err, codes.OK)
			break
		}
		batches = append(batches, batch)
	}
	header, err = stream.Header()
	if err != nil {
		e.t.Fatal(err)
	}
	return batches, header
}

func TestRecallStreamComesInBatches(t *testing.T) {
	e := newEdge(t, Config{})
	e.store.set(func(q store.Query) (store.Answer, error) {
		var answer store.Answer
		for i := range q.K {
			answer.Hits = append(answer.Hits, hitOf(t, 0, along(fmt.Sprint(i), 0.5), float32(100-i)))
		}
		return answer, nil
	})
	batches, _ := e.recallAll(&pb.StreamingRecallRequest{Cue: cueOf(vector(1)), MaxResults: 40})
	var all []*pb.Memory
	for i, b := range batches {
		all = append(all, b.GetResults()...)
		if last := i == len(batches)-1; b.GetMoreResults() == last || (b.GetMetadata() != nil) != last {
			t.Errorf("batch %d of %d: more %v, metadata %v", i, len(batches), b.GetMoreResults(), b.GetMetadata())
		}
	}
	if len(batches) != 3 || len(all) != 40 || all[0].GetId() != "0" || all[39].GetId() != "39" {
		t.Errorf("%d batches with %d results", len(batches), len(all))
	}
	e.store.set(nil)
	batches, _ = e.recallAll(&pb.StreamingRecallRequest{Cue: cueOf(vector(1))})
	if len(batches) != 1 || batches[0].GetMoreResults() {
		t.Errorf("nothing found gives %v", batches)
	}
}

func TestSnapshots(t *testing.T) {
	e := newEdge(t, Config{})
	e.store.can = store.Capabilities{CommitTimes: true}
	c := e.begin("", &pb.StreamInit{})
	c.observe(1, 2, 3)
	c.acks(1, 2, 3)
	writes := e.journal.records(wal.KindWrite)
	e.ledger.settle(writes[0].Index)
	var asked store.Query
	e.store.set(func(q store.Query) (store.Answer, error) {
		asked = q
		return store.Answer{}, nil
	})
	request := &pb.StreamingRecallRequest{SessionId: c.id, Cue: cueOf(vector(1))}
	got := func() (string, uint64) {
		batches, _ := e.recallAll(request)
		return idsOf(batches[0].GetResults()), batches[0].GetSnapshotSequence()
	}
	if ids, seq := got(); ids != fmt.Sprintf("[%[1]s-3 %[1]s-2]", c.id) && ids != fmt.Sprintf("[%[1]s-2 %[1]s-3]", c.id) || seq != 3 {
		t.Errorf("open: %s at %d", ids, seq)
	}
	request.SnapshotIsolation = true
	if ids, seq := got(); ids != "[]" || seq != 1 || !asked.Committed {
		t.Errorf("isolated: %s at %d", ids, seq)
	}
	request.SnapshotIsolation = false
	at := time.Unix(0, writes[2].Time)
	request.SnapshotTime = timestamppb.New(at.Add(-1))
	if ids, seq := got(); ids != fmt.Sprintf("[%s-2]", c.id) || !asked.Before.Equal(at) || seq != 0 {
		t.Errorf("before %v: %s at %d, and nobody knows how far the session was then", at, ids, seq)
	}
	request.SnapshotTime = timestamppb.New(at)
	if ids, _ := got(); ids != fmt.Sprintf("[%[1]s-2 %[1]s-3]", c.id) {
		t.Errorf("at the moment of the third: %s", ids)
	}
	request.SnapshotTime = timestamppb.New(time.Now().Add(time.Hour))
	if _, seq := got(); seq != 3 {
		t.Errorf("up to a moment that is still to come: %d", seq)
	}
	request.SnapshotTime = nil
	e.ledger.set(func() { e.ledger.visit = context.DeadlineExceeded })
	if _, seq := got(); seq != 1 {
		t.Errorf("without all of the pending: %d", seq)
	}
	e.store.set(func(store.Query) (store.Answer, error) { return store.Answer{}, store.Unavailable(errDisk) })
	batches, header := e.recallAll(request)
	if batches[0].GetSnapshotSequence() != 0 || fmt.Sprint(header.Get("engram-partial")) != "[store-unavailable, pending]" {
		t.Errorf("without the store: %v, %v", batches[0].GetSnapshotSequence(), header)
	}
	request.SnapshotIsolation = true
	stream, err := e.RecallStream(e.ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	wantStatus(t, err, codes.Unavailable, "the store cannot be asked now")
	e.store.set(nil)
	request.SessionId = "nobody"
	if _, seq := got(); seq != 0 {
		t.Errorf("an unknown session shows %d", seq)
	}
}

func TestStreamingRecall(t *testing.T) {
	e := newEdge(t, Config{})
	stream, err := e.StreamingRecall(e.ctx)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(cue *pb.Cue) (*pb.RecallResponse, error) {
		if err := stream.Send(&pb.RecallRequest{Cue: cue}); err != nil {
			t.Fatal(err)
		}
		return stream.Recv()
	}
	if res, err := ask(cueOf(vector(1))); err != nil || len(res.GetMemories()) != 0 {
		t.Errorf("%v, %v", res, err)
	}
	e.store.set(func(store.Query) (store.Answer, error) { return store.Answer{}, store.Unavailable(errDisk) })
	if _, err := ask(cueOf(vector(1))); err != nil {
		t.Error(err)
	}
	_, err = ask(nil)
	wantStatus(t, err, codes.InvalidArgument, "got none")
	if got := stream.Trailer().Get("engram-partial"); len(got) != 1 {
		t.Errorf("trailer %v", got)
	}
	again, err := e.StreamingRecall(e.ctx) // whose very first answer lacks something
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Send(&pb.RecallRequest{Cue: cueOf(vector(1))}); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Recv(); err != nil {
		t.Fatal(err)
	}
	if header, err := again.Header(); err != nil || fmt.Sprint(header.Get("engram-partial")) != "[store-unavailable]" {
		t.Errorf("header %v, %v", header, err)
	}
	if err := again.CloseSend(); err != nil {
		t.Fatal(err)
	}
	_, err = again.Recv()
	wantStatus(t, err, codes.OK)
}
