// A streaming client in its smallest useful form: it opens a session, observes, heeds backpressure, resumes after a lost
// connection, and recalls. Run it beside a sidecar:
//
//   npm ci && node client.mjs [host:port]
//
// The vectors here are made up from the text's bytes; use those of your model.
import { fileURLToPath } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import grpc from '@grpc/grpc-js'
import loader from '@grpc/proto-loader'

const protos = fileURLToPath(new URL('../../../proto', import.meta.url))
const definition = loader.loadSync('engram/v1/service.proto', {
  includeDirs: [protos], keepCase: true, longs: Number, enums: String, oneofs: true, defaults: true,
})
const { EngramService } = grpc.loadPackageDefinition(definition).engram.v1
const api = new EngramService(process.argv[2] ?? '127.0.0.1:50051', grpc.credentials.createInsecure(), {
  'grpc.max_reconnect_backoff_ms': 1000,
})

const window = 128 // observations under way: sent and not acked
const texts = Array.from({ length: 1000 }, (_, i) => `observation number ${i + 1}`)
let session = '' // empty until the sidecar has named it
let acked = 0 // up to here everything is on the sidecar's disk; what is behind it has to be kept

// stream opens or resumes the session and sends what is not acked. It resolves when all is acked, and rejects with the
// error that the stream ended with.
function stream() {
  return new Promise((resolve, reject) => {
    const call = api.ObserveStream()
    let over = false
    let next = 0 // nothing is sent before the sidecar has said where to go on

    function pump() {
      for (; next > 0 && next <= texts.length && next <= acked + window; next++) {
        const what = texts[next - 1]
        call.write({ sequence_number: next, observation: { what, embedding: vector(what) } })
      }
    }

    function answered({ sequence_number: sequence, init_ack, ack, status }) {
      if (init_ack) {
        session = init_ack.session_id
        acked = init_ack.initial_sequence // may be past the last ack that arrived
        next = acked + 1
      } else if (ack) {
        acked = Math.max(acked, sequence)
      } else if (status.state === 'STATE_OVERLOADED') {
        if (next === 0) return // the one behind which this was sent has been refused already
        next = 0 // refused observations use up no number: they are sent again
        sleep(retryAfter(status.message)).then(() => {
          if (over) return
          next = acked + 1
          pump()
        })
      } else if (status.state === 'STATE_ERROR' && sequence === acked + 1) {
        call.cancel()
        reject(new Error(`observation ${sequence} refused: ${status.message}`))
      } // anything else is news: BACKPRESSURE asks to slow down, ACTIVE says that there is room again
      if (acked >= texts.length) return call.end()
      pump()
    }

    call.on('data', answered)
    call.on('error', (error) => { over = true; reject(error) })
    call.on('end', () => { over = true; if (acked >= texts.length) resolve() }) // or else an error follows
    call.write({ session_id: session, init: { enable_backpressure: true } })
  })
}

// retryAfter reads the sidecar's advice, in milliseconds: "…; retry after 1.5s, resend from 812".
function retryAfter(message) {
  const [, number, unit] = /retry after ([\d.]+)(ms|s|m)/.exec(message) ?? [undefined, '1', 's']
  return Math.ceil(number * { ms: 1, s: 1000, m: 60_000 }[unit])
}

// vector makes 768 numbers of length 1 out of a text.
function vector(text) {
  const v = new Float32Array(768)
  Buffer.from(text).forEach((b, i) => v[(i * 31 + b) % v.length]++)
  const norm = Math.hypot(...v)
  return Array.from(v, (x) => x / norm)
}

while (acked < texts.length) {
  try {
    await stream()
  } catch (error) {
    if (error.code !== grpc.status.UNAVAILABLE) throw error
    console.error(`connection lost after observation ${acked}: resuming`)
    await sleep(200) // a real client backs off
  }
}
console.log(`session ${session}: ${acked} acked`)

const request = { max_results: 3, cue: { embedding: { vector: vector('observation number 42') } } }
const { memories } = await new Promise((resolve, reject) => {
  api.Recall(request, (error, answer) => (error ? reject(error) : resolve(answer)))
})
for (const memory of memories) console.log('recalled:', memory.content)
api.close()
