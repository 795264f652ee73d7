import { MigrationStreamError } from '../errors.ts'

/*
 * QEMU's migration stream (QEMU, docs/devel/migration and migration/savevm.c):
 *   header   'QEVM', version 3 (u32); all numbers big-endian
 *   sections each: type (u8), id (u32), and for START and FULL: length of the name (u8), name,
 *            instance (u32), version (u32); then the section's own data, which only its device can
 *            measure; then a footer: 0x7e, id (u32)
 *   end      0x00
 *
 * A state saved by xen-save-devices-state is header, device sections, end. An ordinary migration
 * has, between header and device sections, the configuration of the machine and its RAM. The head
 * is that: everything before the first device section. Head and the sections of a later state make
 * a stream that an ordinary incoming migration loads.
 */

const MAGIC = 0x5145_564d
const VERSION = 3
const HEADER_BYTES = 8
const SECTION_FULL = 0x04
const SECTION_FOOTER = 0x7e
const FOOTER_BYTES = 5
const END = 0x00

/** 288 KB were seen for a q35 machine without disks. Much more means that RAM itself was sent. */
export const HEAD_BYTES_MAX = 16_777_216
/** 33 KB were seen for the same machine; up to 170 KB for one with default devices. */
export const STATE_BYTES_MAX = 16_777_216

/**
 * The head of an ordinary migration of a machine.
 *
 * @param migration - the whole stream, taken with `x-ignore-shared`
 * @param state - a device state of the same machine, of any moment
 * @returns a view of `migration`
 * @throws {MigrationStreamError} `ERR_ENDOPHYTE_STREAM`: one of both is no such stream, or they are
 *   not of one machine
 */
export function cutHead(migration: Uint8Array, state: Uint8Array): Uint8Array {
  checkHeader(migration, 'migration')
  if (migration.length > HEAD_BYTES_MAX) {
    throw new MigrationStreamError(
      `migration has ${migration.length} bytes, more than ` +
        `${HEAD_BYTES_MAX}: guest memory must be in it`,
    )
  }
  const section = firstSection(state)
  const cuts: number[] = []
  for (
    let at = indexOf(migration, section, HEADER_BYTES);
    at >= 0;
    at = indexOf(migration, section, at + 1)
  ) {
    // Bytes of a page may look like the section; in front of the real one, another section ends.
    if (migration[at - FOOTER_BYTES] === SECTION_FOOTER) cuts.push(at)
  }
  const [cut, other] = cuts
  if (cut === undefined) {
    throw new MigrationStreamError('migration has no section that begins as the device state does')
  }
  if (other !== undefined) {
    throw new MigrationStreamError('migration has several places where the device state may begin')
  }
  return migration.subarray(0, cut)
}

/**
 * A stream that a waiting QEMU loads.
 *
 * @param head - from {@link cutHead}
 * @param state - of the same machine, of the moment at which it shall continue
 * @returns a new array
 * @throws {MigrationStreamError} `ERR_ENDOPHYTE_STREAM`
 */
export function joinStream(head: Uint8Array, state: Uint8Array): Uint8Array {
  checkHeader(head, 'head')
  if (head.length > HEAD_BYTES_MAX || head[head.length - FOOTER_BYTES] !== SECTION_FOOTER) {
    throw new MigrationStreamError('head does not end with the footer of a section')
  }
  checkState(state)
  const stream = new Uint8Array(head.length + state.length - HEADER_BYTES)
  stream.set(head)
  stream.set(state.subarray(HEADER_BYTES), head.length)
  return stream
}

/** Type, id, name, instance and version of the first device section. */
function firstSection(state: Uint8Array): Uint8Array {
  checkState(state)
  const nameLength = state[HEADER_BYTES + 5] ?? 0
  const end = HEADER_BYTES + 6 + nameLength + 8
  if (state[HEADER_BYTES] !== SECTION_FULL || nameLength === 0 || end > state.length) {
    throw new MigrationStreamError('state does not begin with a device section')
  }
  return state.subarray(HEADER_BYTES, end)
}

function checkState(state: Uint8Array): void {
  checkHeader(state, 'state')
  if (state.length > STATE_BYTES_MAX) {
    throw new MigrationStreamError(`state has ${state.length} bytes, more than ${STATE_BYTES_MAX}`)
  }
  if (state.at(-1) !== END || state.at(-1 - FOOTER_BYTES) !== SECTION_FOOTER) {
    throw new MigrationStreamError('state is cut off')
  }
}

function checkHeader(stream: Uint8Array, name: string): void {
  if (stream.length < HEADER_BYTES) throw new MigrationStreamError(`${name} is cut off`)
  const view = new DataView(stream.buffer, stream.byteOffset, HEADER_BYTES)
  if (view.getUint32(0) !== MAGIC) {
    throw new MigrationStreamError(`${name} does not begin with 'QEVM'`)
  }
  const version = view.getUint32(4)
  if (version !== VERSION) {
    throw new MigrationStreamError(`${name} has version ${version}, not ${VERSION}`)
  }
}

function indexOf(stream: Uint8Array, wanted: Uint8Array, from: number): number {
  const first = wanted[0] ?? 0
  for (let at = stream.indexOf(first, from); at >= 0; at = stream.indexOf(first, at + 1)) {
    if (wanted.every((byte, index) => stream[at + index] === byte)) return at
  }
  return -1
}
