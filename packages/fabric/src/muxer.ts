import { yamux } from '@libp2p/yamux'

/**
 * Yamux that loses frames for a connection that has closed, instead of throwing: yamux 8.0.3 sends
 * the first frame of a new stream in a microtask where nobody catches, so that a connection cut in
 * the same turn of the event loop in which a stream was opened would end the process.
 */
export function safeYamux(): ReturnType<typeof yamux> {
  const create = yamux()
  return () => {
    const factory = create()
    const createStreamMuxer: typeof factory.createStreamMuxer = (connection) => {
      const muxer = factory.createStreamMuxer(connection)
      const send = muxer.send.bind(muxer)
      muxer.send = (data) => {
        try {
          return send(data)
        } catch (error) {
          if (connection.status === 'open') throw error
          return true
        }
      }
      return muxer
    }
    return new Proxy(factory, {
      get: (target, name) =>
        name === 'createStreamMuxer' ? createStreamMuxer : Reflect.get(target, name, target),
    })
  }
}
