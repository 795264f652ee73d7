/** `sun_path` has 108 bytes, one of them for the end. */
const SOCKET_PATH_BYTES_MAX = 107

/** @throws {RangeError} the kernel would cut the path off */
export function socketPathOf(path: string): string {
  const bytes = Buffer.byteLength(path)
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    throw new RangeError(
      `socketPath has ${bytes} bytes, a unix socket takes ${SOCKET_PATH_BYTES_MAX}: ${path}`,
    )
  }
  return path
}
