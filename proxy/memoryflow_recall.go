package proxy

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/access"
)

// recallsWaiting is how many recalls of a stream may wait for the one before them; with more the receiver stops reading.
const recallsWaiting = 16

// recallOnFlow is a recall that waits for its turn.
type recallOnFlow struct {
	sequence int64
	request  *pb.RecallRequest
	last     bool // no recall: the stream ends here
}

// recall queues a recall. With too many of them the receiver waits, and reads no more.
func (f *memoryFlow) recall(space string) {
	r := new(pb.RecallRequest)
	if err := proto.Unmarshal(f.in.Body, r); err != nil {
		f.refuse(status.Errorf(codes.InvalidArgument, "recall: malformed RecallRequest: %v", err))
		return
	}
	if r.GetMemorySpaceId() == "" {
		r.MemorySpaceId = space
	}
	if err := f.may(r.GetMemorySpaceId(), access.Read); err != nil {
		f.refuse(err)
		return
	}
	select {
	case f.recalls <- recallOnFlow{sequence: f.in.Sequence, request: r}:
	case <-f.halt:
	}
}

// recallAll answers the recalls, each when the client has room for its answer.
func (f *memoryFlow) recallAll() {
	defer f.s.caught(f.method, func(err error) { f.end(err, false) })
	for r := range f.recalls {
		if r.last {
			f.end(nil, true)
			return
		}
		if !f.wait(f.halt, nil, func(l level) bool { return l.bytes < f.room }) {
			return
		}
		answer, err := f.s.answer(f.stream.Context(), r.request)
		if err != nil {
			f.replyStatus(answerReady, r.sequence, f.refusal(err))
			continue
		}
		if md := answer.lacks(); md != nil {
			f.replyStatus(answerReady, r.sequence, lacking(md.Get(partialKey)))
		}
		res := f.response(r.sequence)
		res.Response = &pb.MemoryFlowResponse_RecallResult{RecallResult: answer.response(r.request)}
		f.respond(answerReady, res)
	}
}

// lacking says what the recall lacks that is answered next. A stream has no header for each answer.
func lacking(partial []string) *pb.FlowStatus {
	what := strings.Join(partial, ", ")
	state := pb.FlowStatus_STATE_BUFFERING
	if strings.Contains(what, partialStore) {
		state = pb.FlowStatus_STATE_RECONNECTING
	}
	return &pb.FlowStatus{
		State: state, Message: "the recall's answer lacks something (" + partialKey + ": " + what + ")",
		Metrics: map[string]string{partialKey: what},
	}
}
