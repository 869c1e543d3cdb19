package proxy

import (
	"strings"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

// response is an answer without its body.
func (f *memoryFlow) response(sequence int64) *pb.MemoryFlowResponse {
	return &pb.MemoryFlowResponse{SessionId: f.idText, SequenceNumber: sequence, Timestamp: timestamppb.Now()}
}

// refuse answers the request in hand in-band, with a call's status.
func (f *memoryFlow) refuse(err error) {
	f.replyStatus(answerReady, f.in.Sequence, f.refusal(err))
}

// refusal shows a call's status as the status of a request.
func (f *memoryFlow) refusal(err error) *pb.FlowStatus {
	st := status.Convert(err)
	return &pb.FlowStatus{
		State: pb.FlowStatus_STATE_ERROR, Message: strings.ToValidUTF8(st.Message(), "\uFFFD"), LastActivity: timestamppb.Now(),
		Metrics: map[string]string{"code": st.Code().String()},
	}
}

// say answers a request with a status.
func (f *memoryFlow) say(sequence int64, state pb.FlowStatus_State, message string) {
	f.replyStatus(answerReady, sequence, &pb.FlowStatus{State: state, Message: message, LastActivity: timestamppb.Now()})
}

func (f *memoryFlow) replyStatus(kind answerKind, sequence int64, st *pb.FlowStatus) {
	res := f.response(sequence)
	res.Response = &pb.MemoryFlowResponse_Status{Status: st}
	f.respond(kind, res)
}

// respond queues a message, but not once the stream has ended.
func (f *memoryFlow) respond(kind answerKind, res *pb.MemoryFlowResponse) {
	f.writing.Lock()
	defer f.writing.Unlock()
	if !f.stopped {
		f.reply(kind, appendMessage(nil, res))
	}
}

// appendMessage appends the bytes of an answer.
func appendMessage(dst []byte, m proto.Message) []byte {
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil { // some text is not UTF-8, which the scan or the store has seen to
		panic(err)
	}
	return out
}
