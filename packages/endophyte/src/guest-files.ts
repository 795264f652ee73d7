import { fileURLToPath } from 'node:url'

/**
 * The source of the guest's load program. The same step up is right from src/, from dist/, and from
 * a bundle's dist/ when the bundling package ships the folder `guest` too.
 */
export const LOAD_SOURCE_PATH: string = fileURLToPath(new URL('../guest/load.c', import.meta.url))
