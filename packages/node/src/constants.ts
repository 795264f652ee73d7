/** Exit codes of `mycelium`, the same for every command. */
export const EXIT_OK = 0
/** It was tried and did not succeed. */
export const EXIT_FAILED = 1
/** The command line makes no sense: nothing was tried. */
export const EXIT_USAGE = 2
/** The machine lacks something, or the other side cannot be reached: try again when it is there. */
export const EXIT_NOT_READY = 3
/** Somebody else holds or changed what was asked for. */
export const EXIT_CONFLICT = 4
/** What shells add to the number of the signal that ended a program. */
export const EXIT_SIGNAL_BASE = 128

/** What `-o json` calls an error that has no code of its own. */
export const CODE_OF_UNCODED = 'ERR_NODE_FAILED'

/**
 * How often a process looks whether its parent is still there. A lost parent sends no signal, so
 * this bounds how long an orphan lives: shorter costs wake-ups, longer keeps a guest running that
 * nobody watches.
 */
export const PARENT_POLL_MS = 250
