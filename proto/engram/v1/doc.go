// Package engramv1 is the Engram protocol in Go: messages and the gRPC service, generated from the .proto files here.
//
// It promises nothing that the .proto files' comments do not say, assumes nothing, starts no goroutines, and keeps
// nothing that a crash could lose. Do not edit the .pb.go files; see package proto for how they are made.
package engramv1
