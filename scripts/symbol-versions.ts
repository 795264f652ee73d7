/** Which versions of the system's libraries a compiled file needs. */
import { readFileSync } from 'node:fs'

/**
 * The oldest systems we support are Debian 12 (glibc 2.36, GCC 12's libstdc++: GLIBCXX_3.4.30,
 * CXXABI_1.3.13) and Ubuntu 24.04 (newer in all). The floor for glibc is lower than both: what
 * Debian 12's compiler binds without an effort (`pthread_create` is GLIBC_2.34), and nothing more.
 * Hence no -static-libstdc++ -static-libgcc for addons: on Debian 12 they need glibc 2.36.
 */
const FLOOR: Readonly<Record<string, string>> = {
  GLIBC: '2.34',
  GLIBCXX: '3.4.30',
  CXXABI: '1.3.13',
}

/** The newest version of each library whose symbols `file` names. */
export function newestSymbols(file: string): ReadonlyMap<string, string> {
  const newest = new Map<string, string>()
  const names = readFileSync(file, 'latin1').matchAll(/\b(GLIBC|GLIBCXX|CXXABI)_(\d[\d.]*)\0/g)
  for (const [, library = '', version = ''] of names) {
    const known = newest.get(library)
    if (known === undefined || isNewer(version, known)) newest.set(library, version)
  }
  return newest
}

/** One sentence for each library of which more than the floor is needed. */
export function aboveFloor(symbols: ReadonlyMap<string, string>): string[] {
  return [...symbols]
    .filter(([library, version]) => isNewer(version, FLOOR[library] ?? '0'))
    .map(([library, version]) => `${library} ${version} is above the floor ${FLOOR[library]}`)
}

/** Is `version` newer than `other`? Both are numbers with dots. */
export function isNewer(version: string, other: string): boolean {
  return version.localeCompare(other, 'en', { numeric: true }) > 0
}
