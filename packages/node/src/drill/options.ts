/** One is revoked, one is killed, one sees it. */
export const NODES_MIN = 3
export const NODES_MAX = 50

export interface NetworkDrillInit {
  readonly nodes: number
  /** What is promised is stretched by this: on a machine that does other things too. */
  readonly slack: number
}
