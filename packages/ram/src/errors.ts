import { CodedError } from '@mycelium/interface'

/** The native part could not be loaded; `cause` holds what the loader said. */
export class AddonMissingError extends CodedError<'ERR_RAM_NO_ADDON'> {
  override get name(): 'AddonMissingError' {
    return 'AddonMissingError'
  }
  readonly code = 'ERR_RAM_NO_ADDON'
  readonly root: string

  /** @param machine - platform and architecture */
  constructor(root: string, machine: string, options?: ErrorOptions) {
    super(`no native addon for ${machine}: tried build/Release and prebuilds/ in ${root}`, options)
    this.root = root
  }
}

/** A message of a peer is malformed: truncated, of a wrong length, with a flipped bit. */
export class FrameError extends CodedError<'ERR_RAM_FRAME'> {
  override get name(): 'FrameError' {
    return 'FrameError'
  }
  readonly code = 'ERR_RAM_FRAME'
}

/** A well-formed message that must not come now: another epoch, a gap, a wrong count. */
export class OrderError extends CodedError<'ERR_RAM_ORDER'> {
  override get name(): 'OrderError' {
    return 'OrderError'
  }
  readonly code = 'ERR_RAM_ORDER'
}

/** The peer replicates another region, or one of another size. */
export class RegionError extends CodedError<'ERR_RAM_REGION'> {
  override get name(): 'RegionError' {
    return 'RegionError'
  }
  readonly code = 'ERR_RAM_REGION'
}

/** An epoch builds on one that this backup does not hold. */
export class BaseError extends CodedError<'ERR_RAM_BASE'> {
  override get name(): 'BaseError' {
    return 'BaseError'
  }
  readonly code = 'ERR_RAM_BASE'
}

/** A sender with an older fencing epoch than one seen before. */
export class FencedError extends CodedError<'ERR_RAM_FENCED'> {
  override get name(): 'FencedError' {
    return 'FencedError'
  }
  readonly code = 'ERR_RAM_FENCED'
}

/** The image after an epoch would not be the one its sender has; nothing was applied. */
export class ImageError extends CodedError<'ERR_RAM_IMAGE'> {
  override get name(): 'ImageError' {
    return 'ImageError'
  }
  readonly code = 'ERR_RAM_IMAGE'
}

/** `onApplied` threw; `cause` is what it threw. The epoch is not held. */
export class RejectedError extends CodedError<'ERR_RAM_REJECTED'> {
  override get name(): 'RejectedError' {
    return 'RejectedError'
  }
  readonly code = 'ERR_RAM_REJECTED'
}

/** The backup holds no complete epoch. */
export class NotPromotableError extends CodedError<'ERR_RAM_NOT_PROMOTABLE'> {
  override get name(): 'NotPromotableError' {
    return 'NotPromotableError'
  }
  readonly code = 'ERR_RAM_NOT_PROMOTABLE'
}

/** A method was called after `stop` or, on a backup, after `promote`. */
export class RamClosedError extends CodedError<'ERR_RAM_CLOSED'> {
  override get name(): 'RamClosedError' {
    return 'RamClosedError'
  }
  readonly code = 'ERR_RAM_CLOSED'
}

/** The other side refused; `remoteCode` is its error code. */
export class RefusedError extends CodedError<'ERR_RAM_REFUSED'> {
  override get name(): 'RefusedError' {
    return 'RefusedError'
  }
  readonly code = 'ERR_RAM_REFUSED'
  readonly remoteCode: string

  constructor(remoteCode: string, message: string) {
    super(`the peer refused: ${message} (${remoteCode})`)
    this.remoteCode = remoteCode
  }
}

/** Native memory, tracking or encoding failed; `cause` is the system's error. */
export class MemoryError extends CodedError<'ERR_RAM_MEMORY'> {
  override get name(): 'MemoryError' {
    return 'MemoryError'
  }
  readonly code = 'ERR_RAM_MEMORY'
}

// ---- channels

/** The folder of the sockets is open to others, or another process uses the same name. */
export class SocketFolderError extends CodedError<'ERR_RAM_SOCKET_FOLDER'> {
  override get name(): 'SocketFolderError' {
    return 'SocketFolderError'
  }
  readonly code = 'ERR_RAM_SOCKET_FOLDER'
  readonly folder: string

  constructor(folder: string, why: string, options?: ErrorOptions) {
    super(`no socket in ${folder}: ${why}`, options)
    this.folder = folder
  }
}

/** Whoever answered at the address of a node proved another key than the pinned one. */
export class PeerKeyError extends CodedError<'ERR_RAM_PEER_KEY'> {
  override get name(): 'PeerKeyError' {
    return 'PeerKeyError'
  }
  readonly code = 'ERR_RAM_PEER_KEY'
  readonly node: string

  constructor(node: string, options?: ErrorOptions) {
    super(`whoever answers at the address of ${node} has another key than the pinned one`, options)
    this.node = node
  }
}
