#include "textflag.h"

// func dotCodesAVX2(codes *int8, query *int16) int32
//
// 768 products in twelve rounds of 64: codes are widened to 16 bits, multiplied with the query's, and neighbours added to 32
// bits. Four sums that do not wait for one another; what they can come to is bounded at queryMost. It reads 768 bytes of codes
// and 1,536 of the query, aligned anyhow, and writes nothing.
TEXT ·dotCodesAVX2(SB), NOSPLIT, $0-20
	MOVQ  codes+0(FP), SI
	MOVQ  query+8(FP), DI
	MOVQ  $12, CX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3

round:
	// The processor's own prefetching ends with each page; this is four rows ahead, and faults nowhere.
	PREFETCHT0 3200(SI)

	VPMOVSXBW (SI), Y4
	VPMOVSXBW 16(SI), Y5
	VPMOVSXBW 32(SI), Y6
	VPMOVSXBW 48(SI), Y7
	VPMADDWD  (DI), Y4, Y4
	VPMADDWD  32(DI), Y5, Y5
	VPMADDWD  64(DI), Y6, Y6
	VPMADDWD  96(DI), Y7, Y7
	VPADDD    Y4, Y0, Y0
	VPADDD    Y5, Y1, Y1
	VPADDD    Y6, Y2, Y2
	VPADDD    Y7, Y3, Y3
	ADDQ      $64, SI
	ADDQ      $128, DI
	DECQ      CX
	JNZ       round

	VPADDD       Y1, Y0, Y0
	VPADDD       Y3, Y2, Y2
	VPADDD       Y2, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VPADDD       X1, X0, X0
	VPSHUFD      $0x4E, X0, X1
	VPADDD       X1, X0, X0
	VPSHUFD      $0xB1, X0, X1
	VPADDD       X1, X0, X0
	VMOVD        X0, AX
	VZEROUPPER
	MOVL         AX, ret+16(FP)
	RET
