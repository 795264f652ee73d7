declare module 'node-gyp-build' {
  /** Loads the addon whose prebuilds lie in `folder`. */
  export default function load(folder: string): unknown
}
