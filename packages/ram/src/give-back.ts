/**
 * Gives the memory of `bytes` back at once, if nothing else lies in it; `bytes` is empty then.
 *
 * Otherwise the garbage collector does it, and what waits for it brings the next full collection
 * nearer. When an image of 192 MiB went to a backup (two processors under load), collections and
 * fresh memory were 0.25 s of 0.75 s of processor time, at both ends together.
 */
export function giveBack(bytes: Uint8Array): void {
  const { buffer, byteLength } = bytes
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}
